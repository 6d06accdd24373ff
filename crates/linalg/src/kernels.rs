//! Every kernel, the fastest of each precision first.

mod faer;
mod portable;

use crate::choice::{KernelChoice, Precision};
use crate::driver::{self, Micro};
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

pub(crate) static KERNELS: [Entry; 3] = [
    entry(Precision::F32, KernelChoice::Faer, "f32 faer", || Ok(&faer::Faer)),
    entry(Precision::F32, KernelChoice::Portable, "f32 portable", || Ok(&portable::F32)),
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
