//! The product that callers see.

use crate::buffer::Buffer;
use crate::choice::{KernelChoice, Precision, Unavailable};
use crate::kernels::{Entry, KERNELS, Product};
use crate::packed::Packed;
use std::ops::Range;

/// A matrix product: weights are packed once, inputs come as rows of f32.
///
/// An element's terms are added in an order that the kernel alone decides. Other than with `faer`,
/// which looks at sizes, neither the number of rows of inputs nor the rows of weights asked for
/// change a bit of it.
#[derive(Clone, Copy)]
pub struct Gemm {
    entry: &'static Entry,
    product: &'static dyn Product,
}

impl Gemm {
    /// Finds the kernel asked for.
    ///
    /// # Errors
    /// [`Unavailable`] where this machine lacks it or it does not compute in `precision`.
    pub fn new(precision: Precision, choice: KernelChoice) -> Result<Self, Unavailable> {
        let mut found = Err("it computes in another precision");
        for entry in KERNELS.iter().filter(|entry| entry.precision == precision) {
            if found.is_err() && (choice == KernelChoice::Auto || entry.choice == choice) {
                found = (entry.find)().map(|product| Self { entry, product });
            }
        }
        found.map_err(|why| Unavailable {
            kernel: choice.name(),
            precision,
            why,
            available: Self::available(precision).map(|gemm| gemm.entry.choice.name()).collect(),
        })
    }

    /// Every product that this machine has in `precision`, the fastest first.
    pub fn available(precision: Precision) -> impl Iterator<Item = Self> {
        let of_precision = KERNELS.iter().filter(move |entry| entry.precision == precision);
        of_precision.filter_map(|entry| (entry.find)().ok().map(|product| Self { entry, product }))
    }

    /// The product in f32 that goes with this one: portable where this is, otherwise the fastest.
    pub fn in_f32(self) -> Self {
        let wanted = if self.is_portable() { KernelChoice::Portable } else { KernelChoice::Auto };
        let in_f32 = || Self::new(Precision::F32, wanted).ok();
        if self.precision() == Precision::F32 { self } else { in_f32().unwrap_or(self) }
    }

    /// Whether it is plain Rust, the same bits on every machine.
    pub fn is_portable(&self) -> bool {
        self.entry.choice == KernelChoice::Portable
    }

    /// Whether the number of rows of inputs may change bits of a product.
    pub fn looks_at_sizes(&self) -> bool {
        self.entry.choice == KernelChoice::Faer
    }

    /// Precision and kernel, as reports name them: "f32 faer".
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// What inputs are rounded to.
    pub fn precision(&self) -> Precision {
        self.entry.precision
    }

    /// Weights `[rows, columns]` of zeros, in this kernel's layout.
    pub fn pack(&self, rows: usize, columns: usize) -> Packed {
        Packed::zeroed(self.product.layout(), rows, columns)
    }

    /// The memory that [`Gemm::pack`] takes.
    pub fn packed_bytes(&self, rows: usize, columns: usize) -> usize {
        let lines = self.product.layout().lines(columns);
        Buffer::bytes(lines.saturating_mul(rows.div_ceil(Packed::BAND_STEP)))
    }

    /// The most memory that one call of [`Gemm::multiply`] takes beyond its arguments.
    pub fn scratch_bytes(&self, inputs: usize, columns: usize) -> usize {
        self.product.scratch_bytes(inputs, columns)
    }

    /// Writes `inputs * weights[rows]^T` to `out`, on this thread alone. Row-major: inputs
    /// `[m, columns]`, out `[m, rows.len()]`.
    ///
    /// # Panics
    /// If slices and range do not fit the weights, or another kernel packed these.
    pub fn multiply(&self, inputs: &[f32], weights: &Packed, rows: Range<usize>, out: &mut [f32]) {
        assert_eq!(weights.layout(), self.product.layout(), "packed by another kernel");
        assert!(rows.start <= rows.end && rows.end <= weights.rows());
        assert_eq!(
            inputs.len() as u128 * rows.len() as u128,
            out.len() as u128 * weights.columns() as u128
        );
        self.product.multiply(inputs, weights, rows, out);
    }
}

impl Precision {
    /// What inputs may be rounded to for speed's sake: bf16 where the processor multiplies it by
    /// instructions of its own, AMX or AVX512-BF16, and `kernel` permits one of them; otherwise f32.
    /// The twins that widen bf16 are no faster than f32.
    pub fn fastest(kernel: KernelChoice) -> Self {
        let native = [KernelChoice::Amx, KernelChoice::Avx512Bf16];
        let has =
            |choice| KERNELS.iter().any(|entry| entry.choice == choice && (entry.find)().is_ok());
        let in_bf16 = match kernel {
            KernelChoice::Auto => native.into_iter().any(has),
            named => native.contains(&named),
        };
        if in_bf16 { Self::Bf16 } else { Self::F32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fastest_is_f32_unless_a_kernel_has_instructions_for_bf16() {
        for kernel in [KernelChoice::Portable, KernelChoice::Faer, KernelChoice::Avx512] {
            assert_eq!(Precision::fastest(kernel), Precision::F32);
        }
        assert_eq!(Precision::fastest(KernelChoice::Amx), Precision::Bf16);
        let fastest = Gemm::available(Precision::Bf16).next().expect("plain Rust").name();
        let has = ["bf16 amx", "bf16 avx512bf16"].contains(&fastest);
        let expected = if has { Precision::Bf16 } else { Precision::F32 };
        assert_eq!(Precision::fastest(KernelChoice::Auto), expected);
    }
}
