//! Products of many rows with a matrix that is computed piece by piece.

use llmopt_linalg::{Gemm, Packed};
use rayon::prelude::*;
use std::ops::Range;

/// A matrix `[rows, columns]`, packed for `gemm`. `fill` writes the rows it is asked for, row-major,
/// into zeros.
///
/// Allocates [`packed_bytes`].
pub(crate) fn packed(
    gemm: Gemm,
    rows: usize,
    columns: usize,
    fill: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Packed {
    let mut packed = gemm.pack(rows, columns);
    packed.bands_mut(BAND).into_par_iter().for_each(|mut band| {
        let mut values = vec![0.0; band.rows().len() * columns];
        fill(band.rows(), &mut values);
        band.fill(&values);
    });
    packed
}

/// The most memory that [`packed`] takes on so many threads.
pub(crate) fn packed_bytes(gemm: Gemm, rows: usize, columns: usize, threads: usize) -> usize {
    gemm.packed_bytes(rows, columns) + threads * BAND * columns * size_of::<f32>()
}

/// Rows that a thread fills at once.
const BAND: usize = 2 * Packed::BAND_STEP;
