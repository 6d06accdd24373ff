//! Pieces of rows, made ready for sums of products over the rows.

use crate::Gemm;
use crate::buffer::Line;
use crate::fill::transposed;
use crate::packed::{Band, Packed};
use llmopt_tensor::simd::{Kernel, dispatch};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a piece. Products are summed in f32 over a piece.
pub(crate) const PIECE: usize = 512;

/// A piece `[rows, columns]` as `[columns, rows]`, each column scaled by the power of two that brings
/// its greatest magnitude into [1, 2).
///
/// Scaled so, no product or sum leaves the range of f32, whatever the columns hold, and to scale back
/// loses nothing: columns of 1e25 stand beside columns of 1e-25 without harm to either.
pub(crate) struct Transposed {
    /// `[columns, rows]`.
    pub(crate) values: Vec<f32>,
    /// For each column, the power of two by which it was divided.
    pub(crate) scales: Vec<f64>,
    /// Rows of the piece.
    pub(crate) rows: usize,
}

impl Transposed {
    /// A piece of `values`, `[rows, columns]` and row-major, of which neither is zero.
    pub(crate) fn new(values: &[f32], columns: usize) -> Self {
        let rows = values.len() / columns;
        let mut transposed =
            Self { values: vec![0.0; values.len()], scales: vec![0.0; columns], rows };
        transposed.fill(values);
        transposed
    }

    /// Takes another piece of as many rows.
    pub(crate) fn fill(&mut self, values: &[f32]) {
        let columns = self.scales.len();
        let scales = self.scales.par_chunks_mut(BAND).enumerate();
        let bands = scales.zip(self.values.par_chunks_mut(BAND * self.rows));
        bands.for_each(|((band, scales), out)| {
            dispatch(FillBand { values, columns, first: band * BAND, scales, out });
        });
    }

    /// Some columns, as rows of inputs to a product.
    pub(crate) fn columns(&self, columns: Range<usize>) -> &[f32] {
        &self.values[columns.start * self.rows..columns.end * self.rows]
    }

    /// Writes all columns as the rows of weights.
    pub(crate) fn pack(&self, packed: &mut Packed) {
        packed.bands_mut(BAND).into_par_iter().for_each(|mut band| {
            let columns = self.columns(band.rows());
            band.fill(columns);
        });
    }

    /// The most memory that a piece takes.
    pub(crate) fn bytes(columns: usize) -> usize {
        columns.saturating_mul(PIECE * size_of::<f32>() + size_of::<f64>())
    }

    /// The most memory that a packed piece takes, with the bands that are filled.
    pub(crate) fn packed_bytes(gemm: Gemm, columns: usize) -> usize {
        gemm.packed_bytes(columns, PIECE) + columns.div_ceil(BAND) * size_of::<Band<'_>>()
    }
}

/// Columns that are transposed together, a multiple of [`Packed::BAND_STEP`].
const BAND: usize = 64;

/// Neighbouring columns of a piece, of which the first is named.
struct FillBand<'a> {
    values: &'a [f32],
    columns: usize,
    first: usize,
    scales: &'a mut [f64],
    out: &'a mut [f32],
}

impl Kernel for FillBand<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { values, columns, first, scales, out } = self;
        let width = scales.len();
        let mut greatest = [0u32; BAND];
        for row in values.chunks_exact(columns) {
            for (greatest, value) in greatest.iter_mut().zip(&row[first..][..width]) {
                *greatest = (*greatest).max(value.abs().to_bits());
            }
        }
        let mut factors = [0.0; BAND];
        for ((scale, factor), greatest) in scales.iter_mut().zip(&mut factors).zip(greatest) {
            let exponent = power(greatest);
            *scale = 2f64.powi(exponent);
            *factor = 2f64.powi(-exponent) as f32;
        }
        let rows = out.len() / width;
        for (start, rows_of_values) in (0..).step_by(16).zip(values.chunks(16 * columns)) {
            for column in (0..width).step_by(16) {
                let square = square(rows_of_values, columns, first + column, &factors[column..]);
                let out = out[column * rows..].chunks_exact_mut(rows);
                for (line, out) in square.iter().zip(out) {
                    for (word, out) in line.iter().zip(&mut out[start..]) {
                        *out = f32::from_bits(*word);
                    }
                }
            }
        }
    }
}

/// Up to sixteen columns of up to sixteen rows, scaled, as rows of words.
#[inline(always)]
fn square(values: &[f32], columns: usize, first: usize, factors: &[f32]) -> [Line; 16] {
    let mut words = [[0; 16]; 16];
    for (row, words) in values.chunks_exact(columns).zip(&mut words) {
        for ((value, factor), word) in row[first..].iter().zip(factors).zip(words) {
            *word = (value * factor).to_bits();
        }
    }
    transposed(words)
}

/// The exponent of a magnitude, given its bits. That of zero, or of a subnormal number, is the least
/// of a normal one; that of what is not finite is of no use to anyone.
fn power(bits: u32) -> i32 {
    ((bits >> 23) as i32).clamp(1, 254) - 127
}
