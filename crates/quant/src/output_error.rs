//! How far the outputs of a quantized matrix are from those before.

use crate::moments::Moments;
use llmopt_linalg::{Gemm, Symmetric};

/// Squared distance of outputs, summed over tokens and rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OutputError {
    /// `|(Q - W) X|^2 - 2 <(Q - W) X, W (Y - X)>`: the distance of `Q X` from the outputs `W Y`
    /// before anything was quantized, without the part that no `Q` changes. It may be negative.
    /// Where the moments have those of the stream that outputs are added to, the distance is that of
    /// the sums.
    pub error: f64,
    /// `|(Q - W) X|^2`: the part of it that the weights' own errors make.
    pub squared: f64,
    /// `|W X|^2`.
    pub signal: f64,
}

impl OutputError {
    /// The error relative to the signal; zero where there is neither.
    pub fn relative(self) -> f64 {
        if self.error == 0.0 { 0.0 } else { self.error / self.signal }
    }

    /// Adds those of other rows or of other tokens.
    pub fn add(&mut self, other: Self) {
        self.error += other.error;
        self.squared += other.squared;
        self.signal += other.signal;
    }
}

/// The outputs of a matrix before anything was quantized, on the inputs that moments sum up: what those
/// of several quantized matrices are compared with.
///
/// Products are in f32 whatever the kernel. The errors of a good method lie where the inputs hardly reach,
/// and inputs rounded to bf16 would reach there.
pub struct Outputs<'a> {
    gemm: Gemm,
    moments: Moments<'a>,
    /// `W`, `[rows, columns]`.
    weights: &'a [f32],
    signal: f64,
    /// `W D` for `D` the cross moments, where there are any.
    changes: Option<Vec<f32>>,
}

impl<'a> Outputs<'a> {
    /// Those of `weights`, `[rows, columns]`. Of `gemm`, what computes in f32 is taken: [`Gemm::in_f32`].
    pub fn new(gemm: Gemm, moments: &Moments<'a>, weights: &'a [f32]) -> Self {
        let gemm = gemm.in_f32();
        let signal = moments.gram.quadratic_in_f32(gemm, weights).iter().sum();
        let order: Vec<usize> = (0..moments.columns()).collect();
        let changes =
            moments.cross.map(|cross| gemm.ordered_products(weights, cross.values(), 1.0, &order));
        Self { gemm, moments: *moments, weights, signal, changes }
    }

    /// How far those of `quantized` are from them.
    pub fn error(&self, quantized: &[f32]) -> OutputError {
        assert_eq!(self.weights.len(), quantized.len());
        let columns = self.moments.columns();
        let errors: Vec<f32> = quantized.iter().zip(self.weights).map(|(q, w)| q - w).collect();
        let squared: f64 = self.moments.gram.quadratic_in_f32(self.gemm, &errors).iter().sum();
        let mut error = squared;
        for changes in self.moments.residual.into_iter().chain(self.changes.as_deref()) {
            error -= 2.0 * inner(changes, &errors, columns);
        }
        // Rounding may leave less than nothing of what is next to nothing.
        OutputError { error, squared: squared.max(0.0), signal: self.signal }
    }
}

/// Compares `quantized` with `weights`, both `[rows, columns]`, on the inputs that `moments` sum up, as
/// [`Outputs::error`].
///
/// Allocates [`output_error_bytes`].
pub fn output_error(
    gemm: Gemm,
    moments: &Moments<'_>,
    weights: &[f32],
    quantized: &[f32],
) -> OutputError {
    Outputs::new(gemm, moments, weights).error(quantized)
}

/// `|M X|^2` for a matrix M, `[rows, columns]`: the squared outputs on the inputs that the Gram matrix
/// sums up, over tokens and rows. Of the errors of a matrix it is what they make of its outputs; for them
/// `gemm` computes in f32.
///
/// Allocates [`squared_outputs_bytes`].
pub fn squared_outputs(gemm: Gemm, gram: &Symmetric, matrix: &[f32]) -> f64 {
    let squared: f64 = gram.quadratic_in_f32(gemm, matrix).iter().sum();
    // Rounding may leave less than nothing of what is next to nothing.
    squared.max(0.0)
}

/// The most memory that [`squared_outputs`] takes for matrices of this size.
pub fn squared_outputs_bytes(gemm: Gemm, rows: usize, columns: usize, threads: usize) -> u64 {
    (Symmetric::quadratic_in_f32_bytes(gemm, columns, threads) + rows * size_of::<f64>()) as u64
}

/// The inner product of two matrices with rows of this length.
fn inner(a: &[f32], b: &[f32], columns: usize) -> f64 {
    assert_eq!(a.len(), b.len());
    let row = |(a, b): (&[f32], &[f32])| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    a.chunks(columns.max(1)).zip(b.chunks(columns.max(1))).map(row).sum()
}

/// The most memory that [`output_error`] takes for matrices of this size, and as much as [`Outputs`] and one
/// comparison with them.
pub fn output_error_bytes(gemm: Gemm, rows: usize, columns: usize, threads: usize) -> u64 {
    let gemm = gemm.in_f32();
    let quadratic =
        Symmetric::quadratic_in_f32_bytes(gemm, columns, threads) + 2 * rows * size_of::<f64>();
    let products = gemm.ordered_products_bytes(columns, threads) + 4 * rows * columns;
    (4 * rows * columns + quadratic + products) as u64
}
