//! Some rows of a matrix, side by side: what is done to one column is done to all of them at once.

use std::ops::Range;

/// Rows that are worked on together.
pub(crate) const ROWS: usize = 64;

/// An element of each row.
pub(crate) type Column = [f32; ROWS];

/// Reads columns `range` of at most [`ROWS`] rows of `length`. Rows that are missing are zero.
#[inline(always)]
pub(crate) fn gather(rows: &[f32], length: usize, range: Range<usize>, columns: &mut [Column]) {
    columns.fill([0.0; ROWS]);
    for (lane, row) in rows.chunks_exact(length).enumerate() {
        for (column, &value) in columns.iter_mut().zip(&row[range.clone()]) {
            column[lane] = value;
        }
    }
}

/// Writes columns `range` of at most [`ROWS`] rows of `length`.
#[inline(always)]
pub(crate) fn scatter(columns: &[Column], rows: &mut [f32], length: usize, range: Range<usize>) {
    for (lane, row) in rows.chunks_exact_mut(length).enumerate() {
        for (column, value) in columns.iter().zip(&mut row[range.clone()]) {
            *value = column[lane];
        }
    }
}

/// `sums += factor * terms`.
#[inline(always)]
pub(crate) fn add(sums: &mut Column, factor: f32, terms: &Column) {
    for (sum, term) in sums.iter_mut().zip(terms) {
        *sum += factor * term;
    }
}
