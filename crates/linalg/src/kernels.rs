//! Every kernel, the fastest of each precision first.

#![expect(unsafe_code, reason = "hints to the cache")]

#[cfg(target_arch = "x86_64")]
mod avx2;
mod faer;
mod portable;

use crate::buffer::Line;
use crate::choice::{KernelChoice, Precision};
use crate::driver::{self, Micro, Panels, Tile};
use crate::packed::{Layout, Packed};
use std::ops::Range;

/// A way to multiply, once it is known that this machine has it.
pub(crate) trait Product: Sync {
    fn layout(&self) -> Layout;
    fn scratch_bytes(&self, rows: usize, columns: usize) -> usize;
    fn multiply(&self, inputs: &[f32], weights: &Packed, rows: Range<usize>, out: &mut [f32]);
}

/// A kernel and how to find out whether this machine has it.
pub(crate) struct Entry {
    pub(crate) precision: Precision,
    pub(crate) choice: KernelChoice,
    pub(crate) name: &'static str,
    /// The kernel, or what is missing.
    pub(crate) find: fn() -> Result<&'static dyn Product, &'static str>,
}

const fn entry(
    precision: Precision,
    choice: KernelChoice,
    name: &'static str,
    find: fn() -> Result<&'static dyn Product, &'static str>,
) -> Entry {
    Entry { precision, choice, name, find }
}

pub(crate) static KERNELS: &[Entry] = &[
    entry(Precision::F32, KernelChoice::Faer, "f32 faer", || Ok(&faer::Faer)),
    #[cfg(target_arch = "x86_64")]
    entry(Precision::F32, KernelChoice::Avx2, "f32 avx2", avx2::find_f32),
    entry(Precision::F32, KernelChoice::Portable, "f32 portable", || Ok(&portable::F32)),
    #[cfg(target_arch = "x86_64")]
    entry(Precision::Bf16, KernelChoice::Avx2, "bf16 avx2", avx2::find_bf16),
    entry(Precision::Bf16, KernelChoice::Portable, "bf16 portable", || Ok(&portable::BF16)),
];

/// A micro kernel and the layout of the weights that it reads.
pub(crate) struct Panelled<M> {
    micro: M,
    layout: Layout,
}

impl<M: Micro + Sync> Product for Panelled<M> {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn scratch_bytes(&self, rows: usize, columns: usize) -> usize {
        driver::scratch_bytes::<M>(self.layout.lines(columns), rows)
    }

    fn multiply(&self, inputs: &[f32], weights: &Packed, rows: Range<usize>, out: &mut [f32]) {
        driver::multiply(self.micro, inputs, weights, rows, out);
    }
}

/// What a vector kernel relies on when it leaves bounds unchecked: inputs, panels and out reach as far
/// as a tile of `rows` by `panels` touches them.
#[cfg(target_arch = "x86_64")]
fn assert_fits(
    inputs: usize,
    words: usize,
    weights: Panels<'_>,
    out: &Tile<'_>,
    (rows, panels): (usize, usize),
) {
    assert!(inputs >= weights.depth * words);
    assert!(weights.lines.len() >= (panels - 1) * weights.stride + weights.depth);
    assert!(out.out.len() >= (rows - 1) * out.stride + 16 * panels && out.stride >= 16 * panels);
}

/// Asks for lines before they are wanted.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch(lines: &[Line]) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    for line in lines {
        // SAFETY: a hint, which touches no memory that the program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
}
