//! Symmetric matrices in f64: sums of products, and the Cholesky factor.

mod cholesky;
mod damped;
mod exchange;
mod forms;
mod products;
#[cfg(test)]
mod tests;
mod times;

pub use cholesky::NotPositiveDefinite;
pub use damped::{Damping, Undamped};

use crate::real::Real;
use crate::tiles::{AREA, TILE, Tiles};
use rayon::prelude::*;

/// A symmetric matrix, of which the lower triangle is held, in square tiles: in f64 about the memory of
/// the whole matrix in f32.
///
/// Work is spread over the rayon pool in which it is called. Results do not depend on the number of
/// threads.
#[derive(Clone)]
pub struct Symmetric<T = f64> {
    tiles: Tiles<T>,
}

impl Symmetric {
    /// A matrix `[order, order]` of zeros.
    pub fn zeros(order: usize) -> Self {
        Self { tiles: Tiles::zeros(order) }
    }

    /// The memory that a matrix of this order holds.
    pub fn bytes(order: usize) -> u64 {
        Tiles::<f64>::bytes(order)
    }
}

impl Symmetric<f32> {
    /// The memory that a matrix of this order holds in f32.
    pub fn bytes_in_f32(order: usize) -> u64 {
        Tiles::<f32>::bytes(order)
    }
}

impl<T: Real> Symmetric<T> {
    pub(crate) fn of(tiles: Tiles<T>) -> Self {
        Self { tiles }
    }

    /// Rows, and columns.
    pub fn order(&self) -> usize {
        self.tiles.order()
    }

    /// An element of either triangle.
    pub fn get(&self, row: usize, column: usize) -> T {
        self.tiles.get(row.max(column), row.min(column))
    }

    /// Writes the first elements of a row.
    pub fn copy_row(&self, row: usize, out: &mut [T]) {
        let (across, within, columns) = (row / TILE, row % TILE, out.len());
        let (left, right) = out.split_at_mut(columns.min(row + 1));
        let tiles = self.tiles.row(across).chunks_exact(AREA);
        for (tile, out) in tiles.zip(left.chunks_mut(TILE)) {
            out.copy_from_slice(&tile[within * TILE..][..out.len()]);
        }
        // Right of the diagonal stands what stands below it.
        let mut rest = right;
        for down in across..columns.div_ceil(TILE) {
            let rows = self.tiles.range(down);
            let rows = rows.start.max(row + 1)..rows.end.min(columns);
            let Some(out) = rest.split_off_mut(..rows.len()) else { return };
            let column = self.tiles.tile(down, across)[within..].iter().step_by(TILE);
            let column = column.skip(rows.start % TILE);
            out.iter_mut().zip(column).for_each(|(out, element)| *out = *element);
        }
    }

    /// Sets an element and its mirror image.
    pub fn set(&mut self, row: usize, column: usize, value: T) {
        *self.tiles.get_mut(row.max(column), row.min(column)) = value;
    }

    /// The elements of the diagonal.
    pub fn diagonal(&self) -> Vec<T> {
        (0..self.order()).map(|i| self.tiles.get(i, i)).collect()
    }

    /// Adds a number to every element of the diagonal.
    pub fn add_to_diagonal(&mut self, value: T) {
        for i in 0..self.order() {
            *self.tiles.get_mut(i, i) += value;
        }
    }

    /// Adds a matrix of the same order.
    pub fn add(&mut self, other: &Self) {
        assert_eq!(self.order(), other.order());
        let tiles = self.tiles.values_mut().par_chunks_mut(AREA);
        tiles.zip(other.tiles.values().par_chunks(AREA)).for_each(|(sums, terms)| {
            for (sum, term) in sums.iter_mut().zip(terms) {
                *sum += *term;
            }
        });
    }

    /// Multiplies every element.
    pub fn scale(&mut self, factor: T) {
        let tiles = self.tiles.values_mut().par_chunks_mut(AREA);
        tiles.for_each(|tile| tile.iter_mut().for_each(|value| *value *= factor));
    }

    /// The matrix whose element `[i, j]` is `self[order[i], order[j]]`, of all rows or some. Allocates the
    /// result alone.
    pub fn permuted(&self, order: &[usize]) -> Self {
        self.picked(order)
    }

    /// The same in f64, whatever this one holds.
    pub fn permuted_in_f64(&self, order: &[usize]) -> Symmetric {
        self.picked(order)
    }

    fn picked<U: Real>(&self, order: &[usize]) -> Symmetric<U> {
        let mut permuted = Symmetric::of(Tiles::zeros(order.len()));
        let rows = permuted.tiles.rows_mut().into_par_iter().enumerate();
        rows.for_each(|(i, tiles)| {
            let rows = &order[i * TILE..order.len().min((i + 1) * TILE)];
            for (tile, columns) in tiles.chunks_exact_mut(AREA).zip(order.chunks(TILE)) {
                for (&row, values) in rows.iter().zip(tile.chunks_exact_mut(TILE)) {
                    for (&column, value) in columns.iter().zip(values) {
                        *value = U::nearest(self.get(row, column).into());
                    }
                }
            }
        });
        permuted
    }
}

impl Symmetric {
    /// Divides element `[i, j]` by `divisors[i] * divisors[j]`: what rows whose products were summed
    /// give once their columns are divided. Of two f32 the product is exact, so that an element is
    /// rounded once.
    pub fn divide_axes(&mut self, divisors: &[f32]) {
        assert_eq!(divisors.len(), self.order());
        let rows = self.tiles.rows_mut().into_par_iter().zip(divisors.par_chunks(TILE));
        rows.for_each(|(tiles, rows)| {
            for (tile, columns) in tiles.chunks_exact_mut(AREA).zip(divisors.chunks(TILE)) {
                for (&row, values) in rows.iter().zip(tile.chunks_exact_mut(TILE)) {
                    for (value, &column) in values.iter_mut().zip(columns) {
                        *value /= f64::from(row) * f64::from(column);
                    }
                }
            }
        });
    }

    /// All of the matrix, row-major. Elements beyond f32 become infinite.
    pub fn to_f32(&self) -> Vec<f32> {
        let order = self.order();
        let mut values = vec![0.0; order * order];
        let bands = values.par_chunks_mut((TILE * order).max(1)).enumerate();
        bands.for_each(|(i, band)| self.band(i, band));
        values
    }

    /// The rows of the matrix in a row of tiles, `[rows, order]`, as f32.
    fn band(&self, i: usize, out: &mut [f32]) {
        for j in 0..self.tiles.count() {
            let (tile, rows) = (self.tiles.tile(i.max(j), i.min(j)), self.tiles.range(i));
            let columns = self.tiles.range(j);
            for (row, out) in rows.clone().zip(out.chunks_exact_mut(self.order())) {
                let row = row - rows.start;
                for (column, out) in out[columns.clone()].iter_mut().enumerate() {
                    let below = if i == j { column <= row } else { j < i };
                    let at = if below { row * TILE + column } else { column * TILE + row };
                    *out = tile[at] as f32;
                }
            }
        }
    }
}
