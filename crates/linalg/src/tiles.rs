//! The lower triangle of a square matrix, in square tiles.

use crate::real::Real;
use rayon::prelude::*;
use std::ops::Range;

/// Rows and columns of a tile.
pub(crate) const TILE: usize = 128;

/// Elements of a tile, row-major.
pub(crate) const AREA: usize = TILE * TILE;

/// Tiles on and below the diagonal, one row of tiles after the other. What a tile of the diagonal
/// holds above the diagonal means nothing; nor does what lies beyond the order.
#[derive(Clone)]
pub(crate) struct Tiles<T = f64> {
    order: usize,
    values: Vec<T>,
}

impl<T: Real> Tiles<T> {
    pub(crate) fn zeros(order: usize) -> Self {
        let elements = before(order.div_ceil(TILE)).and_then(|tiles| tiles.checked_mul(AREA));
        Self {
            order,
            values: vec![T::default(); elements.expect("a matrix fits the address space")],
        }
    }

    /// The memory of a matrix of this order.
    pub(crate) fn bytes(order: usize) -> u64 {
        let tiles = order.div_ceil(TILE) as u64;
        (tiles.saturating_mul(tiles + 1) / 2).saturating_mul((AREA * size_of::<T>()) as u64)
    }

    pub(crate) fn order(&self) -> usize {
        self.order
    }

    /// Rows of tiles.
    pub(crate) fn count(&self) -> usize {
        self.order.div_ceil(TILE)
    }

    /// Where an element on or below the diagonal is.
    fn position(row: usize, column: usize) -> usize {
        let (i, j) = (row / TILE, column / TILE);
        (i * (i + 1) / 2 + j) * AREA + row % TILE * TILE + column % TILE
    }

    /// An element on or below the diagonal.
    pub(crate) fn get(&self, row: usize, column: usize) -> T {
        assert!(column <= row && row < self.order);
        self.values[Self::position(row, column)]
    }

    /// An element on or below the diagonal, to write.
    pub(crate) fn get_mut(&mut self, row: usize, column: usize) -> &mut T {
        assert!(column <= row && row < self.order);
        &mut self.values[Self::position(row, column)]
    }

    pub(crate) fn tile(&self, row: usize, column: usize) -> &[T] {
        &self.row(row)[column * AREA..][..AREA]
    }

    /// The tiles of a row, from the first to that of the diagonal.
    pub(crate) fn row(&self, row: usize) -> &[T] {
        &self.values[row * (row + 1) / 2 * AREA..][..(row + 1) * AREA]
    }

    /// The same, to write.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [T] {
        &mut self.values[row * (row + 1) / 2 * AREA..][..(row + 1) * AREA]
    }

    /// Every row of tiles.
    pub(crate) fn rows_mut(&mut self) -> Vec<&mut [T]> {
        let mut rest = &mut self.values[..];
        let count = self.order.div_ceil(TILE);
        (0..count).map(|row| rest.split_off_mut(..(row + 1) * AREA).unwrap_or_default()).collect()
    }

    /// The tiles of every column, from that of the diagonal to the last.
    pub(crate) fn columns_mut(&mut self) -> Vec<Vec<&mut [T]>> {
        let mut columns: Vec<Vec<_>> = (0..self.count()).map(|_| Vec::new()).collect();
        for row in self.rows_mut() {
            for (tile, column) in row.chunks_exact_mut(AREA).zip(&mut columns) {
                column.push(tile);
            }
        }
        columns
    }

    /// Writes ones on the diagonal beyond the order.
    pub(crate) fn pad_with_identity(&mut self) {
        let held = self.range(self.count().saturating_sub(1)).len();
        let last = self.values.len().saturating_sub(AREA);
        let diagonal = self.values[last..].iter_mut().step_by(TILE + 1);
        diagonal.skip(held).for_each(|element| *element = T::nearest(1.0));
    }

    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }

    pub(crate) fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// The nearest f32 of each element.
    pub(crate) fn to_f32(&self) -> Tiles<f32> {
        let mut rounded = Tiles { order: self.order, values: vec![0.0; self.values.len()] };
        let tiles = rounded.values.par_chunks_mut(AREA).zip(self.values.par_chunks(AREA));
        tiles.for_each(|(to, from)| {
            to.iter_mut().zip(from).for_each(|(to, &from)| *to = f32::nearest(from.into()));
        });
        rounded
    }

    /// The rows, or columns, of the matrix in a row, or column, of tiles.
    pub(crate) fn range(&self, tile: usize) -> Range<usize> {
        tile * TILE..self.order.min((tile + 1) * TILE)
    }
}

/// Tiles in so many rows.
fn before(rows: usize) -> Option<usize> {
    Some(rows.checked_mul(rows.checked_add(1)?)? / 2)
}
