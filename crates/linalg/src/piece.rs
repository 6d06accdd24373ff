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

/// Pieces `[rows, columns]`, each as `[columns, rows]`, with each of its columns scaled by the power of two that
/// brings its greatest magnitude into [1, 2).
///
/// Scaled so, no product or sum leaves the range of f32, whatever the columns hold, and to scale back
/// loses nothing: columns of 1e25 stand beside columns of 1e-25 without harm to either.
pub(crate) struct Transposed {
    /// `[pieces, columns, rows]`.
    pub(crate) values: Vec<f32>,
    /// For each column of each piece, the power of two by which it was divided.
    pub(crate) scales: Vec<f64>,
    /// Rows of a piece.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Transposed {
    /// Pieces of so many rows of `values`, `[pieces * rows, columns]`, of which none is zero. All bands of all
    /// pieces are made side by side.
    pub(crate) fn new(values: &[f32], columns: usize, rows: usize) -> Self {
        let scales = vec![0.0; values.len() / rows];
        let mut transposed = Self { values: vec![0.0; values.len()], scales, rows, columns };
        let out = transposed.values.par_chunks_mut(columns * rows);
        let scales = transposed.scales.par_chunks_mut(columns);
        let pieces = values.par_chunks(columns * rows).zip(out).zip(scales).with_max_len(1);
        pieces.for_each(|((values, out), scales)| {
            let bands = scales.par_chunks_mut(BAND).zip(out.par_chunks_mut(BAND * rows));
            bands.enumerate().for_each(|(band, (scales, out))| {
                dispatch(FillBand { values, columns, first: band * BAND, scales, out });
            });
        });
        transposed
    }

    /// How many pieces there are.
    pub(crate) fn count(&self) -> usize {
        self.scales.len() / self.columns
    }

    /// Some columns of a piece, as rows of inputs to a product.
    pub(crate) fn inputs(&self, piece: usize, columns: Range<usize>) -> &[f32] {
        let first = piece * self.columns;
        &self.values[(first + columns.start) * self.rows..(first + columns.end) * self.rows]
    }

    /// What the columns of a piece were divided by.
    pub(crate) fn scales(&self, piece: usize) -> &[f64] {
        &self.scales[piece * self.columns..][..self.columns]
    }

    /// All columns as the rows of weights, those of a piece from a multiple of [`Transposed::stride`] on.
    pub(crate) fn packed(&self, gemm: Gemm) -> Packed {
        let bands = self.stride() / BAND;
        let mut packed = gemm.pack(self.count() * self.stride(), self.rows);
        packed.bands_mut(BAND).into_par_iter().enumerate().for_each(|(number, mut band)| {
            let first = number % bands * BAND;
            let columns = first..self.columns.min(first + BAND);
            band.fill_first(self.inputs(number / bands, columns));
        });
        packed
    }

    /// Rows of weights from the first of a piece to that of the next.
    pub(crate) fn stride(&self) -> usize {
        stride(self.columns)
    }

    /// Some columns of a piece, among the rows of weights.
    pub(crate) fn weights(&self, piece: usize, columns: Range<usize>) -> Range<usize> {
        let first = piece * self.stride();
        first + columns.start..first + columns.end
    }

    /// The most memory that so many pieces take.
    pub(crate) fn bytes(columns: usize, pieces: usize) -> usize {
        let each = columns.saturating_mul(PIECE * size_of::<f32>() + size_of::<f64>());
        each.saturating_mul(pieces)
    }

    /// The most memory that so many packed pieces take, with the bands that are filled.
    pub(crate) fn packed_bytes(gemm: Gemm, columns: usize, pieces: usize) -> usize {
        let rows = pieces * stride(columns);
        gemm.packed_bytes(rows, PIECE) + rows / BAND * size_of::<Band<'_>>()
    }
}

fn stride(columns: usize) -> usize {
    columns.next_multiple_of(BAND)
}

/// How many pieces are made ready together: of few columns more than one, as threads that wait for each other
/// after every piece of them would wait most of the time.
pub(crate) fn together(columns: usize) -> usize {
    (TOGETHER / (PIECE * columns.max(1))).clamp(1, 8)
}

/// Numbers of pieces that are made ready together, unless one has more.
const TOGETHER: usize = 1 << 22;

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
