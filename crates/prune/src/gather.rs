//! Columns of row-major matrices.

use llmopt_linalg::Real;
use rayon::prelude::*;

/// Some columns of rows of `length`, `[rows, columns.len()]`.
pub(crate) fn gathered<T: Real>(rows: &[f32], length: usize, columns: &[usize]) -> Vec<T> {
    let mut picked = vec![T::default(); rows.len() / length.max(1) * columns.len()];
    let chunks = picked
        .par_chunks_mut((ROWS * columns.len()).max(1))
        .zip(rows.par_chunks((ROWS * length).max(1)));
    chunks.for_each(|(picked, rows)| {
        let rows = rows.chunks_exact(length);
        for (picked, row) in picked.chunks_exact_mut(columns.len()).zip(rows) {
            for (value, &column) in picked.iter_mut().zip(columns) {
                *value = T::nearest(row[column].into());
            }
        }
    });
    picked
}

/// `rows[r, columns[c]] = values[r, c]`.
pub(crate) fn scatter(rows: &mut [f32], length: usize, columns: &[usize], values: &[f32]) {
    if rows.is_empty() || columns.is_empty() {
        return;
    }
    let chunks = rows.par_chunks_mut(ROWS * length).zip(values.par_chunks(ROWS * columns.len()));
    chunks.for_each(|(rows, values)| {
        let values = values.chunks_exact(columns.len());
        for (row, values) in rows.chunks_exact_mut(length).zip(values) {
            for (&column, &value) in columns.iter().zip(values) {
                row[column] = value;
            }
        }
    });
}

/// Sums of squares of the columns of rows of `length`, in groups of a constant number of rows.
/// Allocates [`squares_bytes`].
pub(crate) fn squares(rows: &[f32], length: usize) -> Vec<f64> {
    let part = |rows: &[f32]| {
        let mut sums = vec![0.0; length];
        for row in rows.chunks_exact(length) {
            let squares = row.iter().map(|&value| f64::from(value).powi(2));
            sums.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
        }
        sums
    };
    let parts: Vec<Vec<f64>> = rows.par_chunks((ROWS * length).max(1)).map(part).collect();
    let mut sums = vec![0.0; length];
    for part in parts {
        sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
    }
    sums
}

/// The sum of all squares.
pub(crate) fn energy(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum()
}

/// The memory of [`squares`].
pub(crate) fn squares_bytes(rows: usize, length: usize) -> usize {
    (rows.div_ceil(ROWS) + 1) * (length * size_of::<f64>() + size_of::<Vec<f64>>())
}

/// Rows that a thread takes at once.
const ROWS: usize = 64;
