//! What a codec is: parts with names and shapes, and codes to bytes and back.

use llmopt_scheme::{QuantizedMatrix, Scheme, TileError, Tiles};
use llmopt_tensor::{Dtype, ShapeError, TensorMeta};
use std::ops::Range;

/// A layout of quantized matrices.
///
/// Matrices go through it whole or in *bands* of rows. A band is a [`QuantizedMatrix`] of its own; it
/// begins at a multiple of [`Codec::row_step`] rows and, unless it is the last, has a multiple of
/// that many.
pub trait Codec: Sync {
    /// The name in `quantization_config`.
    fn format(&self) -> &'static str;

    /// The tensors that hold a matrix of `rows` by `columns`, in the order in which
    /// [`Codec::encode`] and [`Codec::decode`] take them. Each is stored as `module.suffix`.
    ///
    /// # Errors
    /// [`Unsupported`] if this layout cannot hold such a matrix.
    fn layout(
        &self,
        scheme: &Scheme,
        scale_dtype: Dtype,
        rows: usize,
        columns: usize,
    ) -> Result<Vec<Part>, Unsupported>;

    /// Bands begin at multiples of so many rows.
    fn row_step(&self, scheme: &Scheme) -> usize;

    /// The bytes of each part for a band of a matrix that has `rows_in_all`: those of
    /// [`Part::range`]. The scales of `band` are already rounded to `scale_dtype`.
    fn encode(
        &self,
        band: &QuantizedMatrix,
        rows_in_all: usize,
        scale_dtype: Dtype,
    ) -> Vec<Vec<u8>>;

    /// The band of `rows` by `columns` that `parts` hold: the exact inverse of [`Codec::encode`].
    ///
    /// # Errors
    /// [`DecodeError`] if the parts are no such band.
    fn decode(
        &self,
        scheme: &Scheme,
        scale_dtype: Dtype,
        rows: usize,
        columns: usize,
        parts: &[&[u8]],
    ) -> Result<QuantizedMatrix, DecodeError>;

    /// The layout as text.
    fn describe(&self) -> FormatRow;
}

/// One of the tensors that hold a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The name after the module's: `weight_packed`.
    pub suffix: &'static str,
    /// Element type and shape.
    pub meta: TensorMeta,
    /// Which of its bytes belong to a band.
    pub span: Span,
}

/// Which bytes of a part belong to a band of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The leading axis follows the rows: a band's bytes lie together.
    Rows,
    /// The part belongs to the whole matrix. Every band gives all of it, the same each time.
    Once,
}

impl Part {
    /// A part whose leading axis follows the rows.
    pub(crate) fn rows(
        suffix: &'static str,
        dtype: Dtype,
        shape: [usize; 2],
    ) -> Result<Self, Unsupported> {
        Ok(Self { suffix, meta: TensorMeta::new(dtype, shape)?, span: Span::Rows })
    }

    /// A part of the whole matrix.
    pub(crate) fn once(
        suffix: &'static str,
        dtype: Dtype,
        shape: [usize; 1],
    ) -> Result<Self, Unsupported> {
        Ok(Self { suffix, meta: TensorMeta::new(dtype, shape)?, span: Span::Once })
    }

    /// The bytes of this part that belong to the band `rows` of a matrix of `rows_in_all`. Never
    /// beyond the part, whatever the arguments are.
    pub fn range(&self, rows: Range<usize>, rows_in_all: usize) -> Range<u64> {
        match self.span {
            Span::Once => 0..self.meta.bytes(),
            Span::Rows => self.offset(rows.start, rows_in_all)..self.offset(rows.end, rows_in_all),
        }
    }

    /// Where the bytes of `row` begin.
    ///
    /// A leading axis of `ceil(all * n / step)` has `n` indices for every `step` rows. For a row
    /// `k * step <= all`, `row * leading / all` is `k * n` and a remainder below one, so neither need
    /// be known.
    fn offset(&self, row: usize, rows_in_all: usize) -> u64 {
        let leading = self.meta.shape().first().copied().unwrap_or(0) as u128;
        let (row, all) = (row.min(rows_in_all) as u128, rows_in_all as u128);
        if leading == 0 || all == 0 {
            return 0;
        }
        // At most `leading`, hence the product is at most the part's size.
        (row * leading / all) as u64 * (self.meta.bytes() / leading as u64)
    }
}

/// Why a matrix cannot be stored in a layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// The layout has no way to say it.
    #[error("`{format}` cannot store {scheme}: {why}")]
    Scheme {
        /// Name of the layout.
        format: &'static str,
        /// What was asked for.
        scheme: String,
        /// What the layout holds instead.
        why: &'static str,
    },
    /// Scales have the model's dtype.
    #[error("scales are stored as F32, F16 or BF16, not as {0}")]
    ScaleDtype(Dtype),
    /// Nothing to store.
    #[error("a matrix of {rows} rows and {columns} columns holds no weight")]
    Empty {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        columns: usize,
    },
    /// The granularity does not fit the matrix.
    #[error(transparent)]
    Tiles(#[from] TileError),
    /// A part would be larger than a file can be.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// Why bytes are not the matrix they should be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// There is no such layout.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// Parts are missing, or there are too many.
    #[error("{found} parts, expected {expected}")]
    Parts {
        /// As the layout has it.
        expected: usize,
        /// As given.
        found: usize,
    },
    /// A part has another size.
    #[error("`{part}` has {found} bytes, expected {expected}")]
    Length {
        /// Suffix of the part.
        part: &'static str,
        /// As the layout has it.
        expected: u64,
        /// As given.
        found: u64,
    },
    /// A scale that makes no number of a code.
    #[error("`weight_scale` is {value} at [{down}, {across}]")]
    Scale {
        /// Row of the scale.
        down: usize,
        /// Column of the scale.
        across: usize,
        /// The scale.
        value: f32,
    },
    /// A scale of zero wipes out codes.
    #[error("`weight_scale` is zero at [{down}, {across}], but codes there are not")]
    ZeroScale {
        /// Row of the scale.
        down: usize,
        /// Column of the scale.
        across: usize,
    },
    /// A code that stands for no number.
    #[error("`weight` is NaN at [{row}, {column}]")]
    NanCode {
        /// Row in the band.
        row: usize,
        /// Column.
        column: usize,
    },
    /// `weight_shape` describes another matrix.
    #[error("`weight_shape` is {found:?}, expected {expected:?}")]
    StoredShape {
        /// The matrix at hand; of a band, its own rows.
        expected: [usize; 2],
        /// As stored.
        found: [i64; 2],
    },
}

/// A layout as text: a row of the reference documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatRow {
    /// The name in `quantization_config`.
    pub format: &'static str,
    /// What it stores.
    pub schemes: &'static str,
    /// Its tensors.
    pub parts: &'static [PartRow],
}

/// A tensor of a layout as text. N is rows, K columns, g the group's length, b bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartRow {
    /// The name after the module's.
    pub name: &'static str,
    /// Element type.
    pub dtype: &'static str,
    /// Shape.
    pub shape: &'static str,
    /// What is in it, and in which order.
    pub content: &'static str,
}

/// The tiles of a matrix that can be stored with scales of `scale_dtype`.
pub(crate) fn tiles(
    scheme: &Scheme,
    scale_dtype: Dtype,
    rows: usize,
    columns: usize,
) -> Result<Tiles, Unsupported> {
    if !scale_dtype.is_plain_float() {
        return Err(Unsupported::ScaleDtype(scale_dtype));
    }
    if rows == 0 || columns == 0 {
        return Err(Unsupported::Empty { rows, columns });
    }
    Ok(Tiles::new(scheme.granularity, rows, columns)?)
}

/// Compares the number and sizes of `parts` with the layout.
pub(crate) fn check_lengths(layout: &[Part], parts: &[&[u8]]) -> Result<(), DecodeError> {
    if layout.len() != parts.len() {
        return Err(DecodeError::Parts { expected: layout.len(), found: parts.len() });
    }
    for (part, bytes) in layout.iter().zip(parts) {
        let (expected, found) = (part.meta.bytes(), bytes.len() as u64);
        if expected != found {
            return Err(DecodeError::Length { part: part.suffix, expected, found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index in the leading axis of a row, with the step known.
    #[test]
    fn ranges_follow_the_steps_of_the_layout() {
        // Zero points of three bits take three words for 32 rows.
        for (step, indices) in [(1, 1), (4, 1), (8, 1), (128, 1), (32, 3)] {
            for all in (1..40).chain([127, 128, 129, 300]) {
                let shape = [usize::div_ceil(all * indices, step), 3];
                let part = Part::rows("scale", Dtype::BF16, shape).expect("small");
                for start in (0..all).step_by(step) {
                    let end = (start + step).min(all);
                    let index = |row: usize| (row * indices).div_ceil(step) as u64 * 6;
                    assert_eq!(part.range(start..end, all), index(start)..index(end));
                }
                assert_eq!(part.range(0..all, all), 0..part.meta.bytes());
            }
        }
    }

    #[test]
    fn ranges_stay_inside_for_any_argument() {
        let part = Part::rows("weight", Dtype::U8, [1 << 38, 1 << 22]).expect("below 2^64 bits");
        for row in [0, 1, usize::MAX / 2, usize::MAX] {
            for all in [0, 1, 1 << 40, usize::MAX] {
                assert!(part.range(0..row, all).end <= part.meta.bytes());
            }
        }
        let none = Part::rows("weight", Dtype::U8, [0, 4]).expect("empty");
        assert_eq!(none.range(0..7, 7), 0..0);
        let once = Part::once("weight_shape", Dtype::I64, [2]).expect("small");
        assert_eq!(once.range(3..4, 9), 0..16);
    }
}
