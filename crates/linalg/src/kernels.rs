//! Every kernel, the fastest of each precision first.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512bf16;
pub(crate) mod codes;
mod faer;
mod portable;
#[cfg(target_arch = "x86_64")]
mod square;

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

/// A kernel, or what is missing.
pub(crate) type Found = Result<&'static dyn Product, &'static str>;

/// A kernel and how to find out whether this machine has it.
pub(crate) struct Entry {
    pub(crate) precision: Precision,
    pub(crate) choice: KernelChoice,
    pub(crate) name: &'static str,
    pub(crate) find: fn() -> Found,
}

const fn entry(
    precision: Precision,
    choice: KernelChoice,
    name: &'static str,
    find: fn() -> Found,
) -> Entry {
    Entry { precision, choice, name, find }
}

pub(crate) static KERNELS: &[Entry] = &[
    #[cfg(target_arch = "x86_64")]
    entry(Precision::F32, KernelChoice::Avx512, "f32 avx512", avx512::find_f32),
    #[cfg(target_arch = "x86_64")]
    entry(Precision::F32, KernelChoice::Avx2, "f32 avx2", avx2::find_f32),
    entry(Precision::F32, KernelChoice::Faer, "f32 faer", || Ok(&faer::Faer)),
    entry(Precision::F32, KernelChoice::Portable, "f32 portable", || Ok(&portable::F32)),
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    entry(Precision::Bf16, KernelChoice::Amx, "bf16 amx", amx::find),
    #[cfg(target_arch = "x86_64")]
    entry(Precision::Bf16, KernelChoice::Avx512Bf16, "bf16 avx512bf16", avx512bf16::find),
    #[cfg(target_arch = "x86_64")]
    entry(Precision::Bf16, KernelChoice::Avx512, "bf16 avx512", avx512::find_bf16),
    #[cfg(target_arch = "x86_64")]
    entry(Precision::Bf16, KernelChoice::Avx2, "bf16 avx2", avx2::find_bf16),
    entry(Precision::Bf16, KernelChoice::Portable, "bf16 portable", || Ok(&portable::BF16)),
];

/// The kernel in f32 that goes with a choice and reads weights of bf16, of which it adds the same terms in
/// the same order as if they were f32. The library has none.
pub(crate) fn widened(choice: KernelChoice) -> Option<&'static dyn Product> {
    match choice {
        KernelChoice::Portable => Some(&portable::WIDENED),
        #[cfg(target_arch = "x86_64")]
        KernelChoice::Avx2 => avx2::find_widened().ok(),
        #[cfg(target_arch = "x86_64")]
        KernelChoice::Avx512 => avx512::find_widened().ok(),
        _ => None,
    }
}

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

/// A kernel once it has shown on this machine that it multiplies: whole numbers of which every sum is
/// exact, at sizes that fill no tile.
#[cfg(target_arch = "x86_64")]
fn checked(product: impl Product + 'static) -> Found {
    let (m, rows, columns) = (45, 37, 67);
    let whole = |i: usize| (i * 31 % 17) as f32 - 8.0;
    let inputs: Vec<f32> = (0..m * columns).map(whole).collect();
    let weights: Vec<f32> = (0..rows * columns).map(|i| whole(i + i / 5)).collect();
    let mut packed = Packed::zeroed(product.layout(), rows, columns);
    packed.bands_mut(48).iter_mut().for_each(|band| band.fill(&weights));
    let mut out = vec![f32::NAN; m * rows];
    product.multiply(&inputs, &packed, 0..rows, &mut out);
    let each = inputs.chunks(columns).flat_map(|x| weights.chunks(columns).map(move |w| (x, w)));
    let expected = each.map(|(x, w)| x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>());
    if !expected.eq(out) {
        return Err("it multiplies wrongly on this machine");
    }
    Ok(Box::leak(Box::new(product)))
}
