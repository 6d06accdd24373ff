//! The product that callers see.

use crate::buffer::Buffer;
use crate::choice::{KernelChoice, Precision, Unavailable};
use crate::codes::{self, CodeFormat, CodeKernel, CodedInputs, InputCodes, Panel};
use crate::kernels::{self, Entry, KERNELS, Product};
use crate::packed::{Layout, Packed};
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
    /// Of f32 inputs with weights of bf16.
    widened: Option<&'static dyn Product>,
    codes: &'static dyn CodeKernel,
    /// What inputs of codes are rounded to.
    code_inputs: InputCodes,
}

/// Rows of inputs, made ready once for any rows of the weights.
pub enum Inputs<'a> {
    /// For dense weights: as they are.
    Dense(&'a [f32]),
    /// For codes: rounded to integers.
    Coded(CodedInputs),
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
                found = (entry.find)().map(|product| Self::of(entry, product));
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
        of_precision.filter_map(|entry| (entry.find)().ok().map(|product| Self::of(entry, product)))
    }

    fn of(entry: &'static Entry, product: &'static dyn Product) -> Self {
        let in_f32 = entry.precision == Precision::F32;
        Self {
            entry,
            product,
            widened: kernels::widened(entry.choice).filter(|_| in_f32),
            codes: kernels::codes::of(entry.choice),
            code_inputs: InputCodes::Int16,
        }
    }

    /// The product in f32 that goes with this one: portable where this is, otherwise the fastest.
    pub fn in_f32(self) -> Self {
        let wanted = if self.is_portable() { KernelChoice::Portable } else { KernelChoice::Auto };
        let in_f32 =
            || Some(Self::new(Precision::F32, wanted).ok()?.with_code_inputs(self.code_inputs));
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

    /// As [`Gemm::pack`], for weights every one of which is a bf16: in two bytes, also where products are
    /// in f32, if the kernel widens them as it reads. The product is the same to the bit.
    pub fn pack_bf16(&self, rows: usize, columns: usize) -> Packed {
        Packed::zeroed(self.widened.unwrap_or(self.product).layout(), rows, columns)
    }

    /// The memory that [`Gemm::pack_bf16`] takes.
    pub fn packed_bf16_bytes(&self, rows: usize, columns: usize) -> usize {
        bytes_in(self.widened.unwrap_or(self.product).layout(), rows, columns)
    }

    /// The memory that [`Gemm::pack`] takes.
    pub fn packed_bytes(&self, rows: usize, columns: usize) -> usize {
        bytes_in(self.product.layout(), rows, columns)
    }

    /// The kernel for weights that stay codes, as reports name it: "codes avx2".
    pub fn code_kernel(&self) -> &'static str {
        self.codes.name()
    }

    /// The same with inputs of codes rounded otherwise.
    pub fn with_code_inputs(self, code_inputs: InputCodes) -> Self {
        Self { code_inputs, ..self }
    }

    /// What inputs are rounded to where weights are codes.
    pub fn code_inputs(&self) -> InputCodes {
        self.code_inputs
    }

    /// Weights `[rows, columns]` that stay codes, to be filled by [`Band::fill_codes`](crate::Band).
    pub fn pack_codes(&self, rows: usize, columns: usize, format: CodeFormat) -> Packed {
        Packed::zeroed(Layout::Codes(format), rows, columns)
    }

    /// The memory that [`Gemm::pack_codes`] takes, which is no more than [`Gemm::packed_bytes`].
    pub fn packed_code_bytes(rows: usize, columns: usize, format: CodeFormat) -> usize {
        bytes_in(Layout::Codes(format), rows, columns)
    }

    /// The most memory that one call of [`Gemm::multiply`] takes beyond its arguments.
    pub fn scratch_bytes(&self, inputs: usize, columns: usize) -> usize {
        let codes = CodedInputs::bytes(inputs, columns);
        self.product.scratch_bytes(inputs, columns).max(codes)
    }

    /// Rows of inputs `[m, columns]`, ready for [`Gemm::multiply_inputs`] with these weights and any
    /// others of the same shape and format. Where the weights are codes, inputs are rounded to `to`.
    ///
    /// # Panics
    /// If these are not whole rows.
    pub fn inputs<'a>(&self, inputs: &'a [f32], weights: &Packed, to: InputCodes) -> Inputs<'a> {
        let columns = weights.columns();
        assert!(columns > 0 && inputs.len().is_multiple_of(columns));
        match weights.codes() {
            Some(format) => Inputs::Coded(CodedInputs::new(inputs, columns, format, to)),
            None => Inputs::Dense(inputs),
        }
    }

    /// As [`Gemm::multiply`], of inputs that were made ready.
    ///
    /// # Panics
    /// If slices and range do not fit the weights, or they were made ready for others.
    pub fn multiply_inputs(
        &self,
        inputs: &Inputs<'_>,
        weights: &Packed,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        match (inputs, weights.codes()) {
            (Inputs::Dense(inputs), None) => self.multiply(inputs, weights, rows, out),
            (Inputs::Coded(inputs), Some(format)) => {
                assert!(rows.start <= rows.end && rows.end <= weights.rows());
                assert!(inputs.fits(format, weights.columns()), "made ready for other weights");
                assert_eq!(out.len(), inputs.rows() * rows.len());
                let weights = Panel { format, columns: weights.columns(), lines: weights.lines() };
                codes::multiply(self.codes, inputs, weights, rows, out);
            }
            _ => panic!("inputs were made ready for other weights"),
        }
    }

    /// Writes `inputs * weights[rows]^T` to `out`, on this thread alone. Row-major: inputs
    /// `[m, columns]`, out `[m, rows.len()]`. Where the weights are codes, inputs are rounded to
    /// sixteen bits.
    ///
    /// # Panics
    /// If slices and range do not fit the weights, or another kernel packed these.
    pub fn multiply(&self, inputs: &[f32], weights: &Packed, rows: Range<usize>, out: &mut [f32]) {
        if weights.codes().is_some() && weights.columns() > 0 {
            let inputs = self.inputs(inputs, weights, InputCodes::Int16);
            return self.multiply_inputs(&inputs, weights, rows, out);
        }
        let packed_by = |product: &&dyn Product| product.layout() == weights.layout();
        let product = [Some(self.product), self.widened].into_iter().flatten().find(packed_by);
        let product = product.expect("packed by this kernel");
        assert!(rows.start <= rows.end && rows.end <= weights.rows());
        assert_eq!(
            inputs.len() as u128 * rows.len() as u128,
            out.len() as u128 * weights.columns() as u128
        );
        product.multiply(inputs, weights, rows, out);
    }
}

fn bytes_in(layout: Layout, rows: usize, columns: usize) -> usize {
    Buffer::bytes(layout.lines(columns).saturating_mul(rows.div_ceil(Packed::BAND_STEP)))
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
