//! Lower triangular factors, and what they solve.

mod inverse;
mod solve;
#[cfg(test)]
mod tests;

use crate::real::Real;
use crate::tiles::Tiles;
use std::ops::Range;

/// A lower triangular matrix, in the memory of a [`crate::Symmetric`].
pub struct Lower<T = f64> {
    tiles: Tiles<T>,
}

impl Lower {
    /// Rows, and columns.
    pub fn order(&self) -> usize {
        self.tiles.order()
    }

    /// An element; zero above the diagonal.
    pub fn get(&self, row: usize, column: usize) -> f64 {
        if column <= row { self.tiles.get(row, column) } else { 0.0 }
    }

    /// The elements of the diagonal.
    pub fn diagonal(&self) -> Vec<f64> {
        (0..self.order()).map(|i| self.tiles.get(i, i)).collect()
    }

    /// Writes `self[rows, columns]`, row-major, as f32.
    pub fn panel(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [f32]) {
        self.each(rows, columns, out, |value, _| value as f32);
    }

    /// Writes `self[rows, columns]`, row-major, as f32 after `of(value, column)`.
    fn each(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        out: &mut [f32],
        of: impl Fn(f64, usize) -> f32,
    ) {
        assert!(columns.end <= self.order());
        assert_eq!(out.len(), rows.len() * columns.len());
        if columns.is_empty() {
            return;
        }
        for (row, out) in rows.zip(out.chunks_exact_mut(columns.len())) {
            let inside = (row + 1).saturating_sub(columns.start).min(out.len());
            let (inside, above) = out.split_at_mut(inside);
            above.fill(0.0);
            for (column, out) in columns.clone().zip(inside) {
                *out = of(self.tiles.get(row, column), column);
            }
        }
    }
}

/// The lower triangular `L` with `L L^T` the matrix that was factored: see
/// [`crate::Symmetric::cholesky`].
///
/// Work is spread over the rayon pool in which it is called. Results do not depend on the number of
/// threads.
pub struct Factor<T = f64> {
    lower: Lower<T>,
}

impl<T: Real> Factor<T> {
    pub(crate) fn new(tiles: Tiles<T>) -> Self {
        Self { lower: Lower { tiles } }
    }

    /// Rows, and columns.
    pub fn order(&self) -> usize {
        self.lower.tiles.order()
    }
}

impl Factor {
    /// The memory that a factor of this order holds.
    pub fn bytes(order: usize) -> u64 {
        Tiles::<f64>::bytes(order)
    }

    /// The triangle itself.
    pub fn lower(&self) -> &Lower {
        &self.lower
    }

    /// The elements of the diagonal, all positive.
    pub fn diagonal(&self) -> Vec<f64> {
        self.lower.diagonal()
    }

    /// The squares of some elements of the diagonal, as f32.
    pub fn squared_diagonal(&self, places: Range<usize>) -> Vec<f32> {
        places.map(|i| self.lower.tiles.get(i, i).powi(2) as f32).collect()
    }

    /// Writes `L[rows, columns]`, row-major, as f32.
    pub fn panel(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [f32]) {
        self.lower.panel(rows, columns, out);
    }

    /// Writes `L[rows, columns]`, row-major, as f32, each column divided by its element of the
    /// diagonal: the unit triangle of `L D L^T`.
    pub fn panel_over_diagonal(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [f32]) {
        let tiles = &self.lower.tiles;
        let first = columns.start;
        let diagonal: Vec<f64> = columns.clone().map(|column| tiles.get(column, column)).collect();
        let unit = |value, column: usize| (value / diagonal[column - first]) as f32;
        self.lower.each(rows, columns, out, unit);
    }
}
