//! What every quantizer offers, and why one may refuse.

use llmopt_scheme::{QuantizedMatrix, Scheme, TileError};
use llmopt_tensor::Dtype;
use ndarray::ArrayView2;

/// Chooses scales and codes for a matrix, or for a band of its rows.
///
/// The result depends on the weights, the scheme and the dtype of the scales alone: no machine and
/// no number of threads changes a bit of it.
pub trait Quantizer: Sync {
    /// The name of the method, as a recipe gives it.
    fn name(&self) -> &'static str;

    /// The most bytes that [`Quantizer::quantize`] holds beyond its input and its result.
    fn working_bytes(&self, rows: usize, columns: usize, scheme: &Scheme) -> usize;

    /// Quantizes `weights`, `[rows, columns]`, on scales as `scale_dtype` stores them.
    ///
    /// # Errors
    /// [`QuantError`] if a weight is not finite, or if the scheme does not fit the matrix.
    fn quantize(
        &self,
        weights: ArrayView2<'_, f32>,
        scheme: &Scheme,
        scale_dtype: Dtype,
    ) -> Result<QuantizedMatrix, QuantError>;
}

/// Why a matrix cannot be quantized.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuantError {
    /// The input is wrong: a weight is NaN or infinite. The first of its tile, counted within the
    /// band that was given.
    #[error("the weight at row {row}, column {column} is {value}")]
    NotFinite {
        /// The row within the band.
        row: usize,
        /// The column.
        column: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// The request is wrong: tiles of this scheme do not cover the matrix.
    #[error(transparent)]
    Tiles(#[from] TileError),
    /// The request is wrong: scales are stored as F32, F16 or BF16.
    #[error("scales cannot be stored as {0} (F32, F16 and BF16 are possible)")]
    ScaleDtype(Dtype),
    /// The request is wrong: E4M3 codes have a sign of their own.
    #[error("floating-point codes have no zero points")]
    FloatZeroPoint,
    /// The request is wrong: a method that goes row by row needs scales of single rows.
    #[error("rows of a block share a scale, but this method chooses those of each row on its own")]
    SharedRows,
    /// The request is wrong: there are not as many importances, or inputs, as columns.
    #[error("inputs of {found} columns were observed, but a row has {expected}")]
    Importance {
        /// How many importances there are.
        found: usize,
        /// Columns of the matrix.
        expected: usize,
    },
}
