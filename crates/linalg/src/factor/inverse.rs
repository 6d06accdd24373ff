//! The inverse of the factor.

use super::{Factor, Lower};
use crate::Symmetric;
use crate::dense::{Blocks, WORKSPACE, add_transposed_product};
use crate::real::Real;
use crate::tiles::{AREA, TILE, Tiles};
use rayon::prelude::*;

impl Factor {
    /// `(L L^T)^-1` by arithmetic in f32 on the rounded factor: as a sum of squares it is as positive as
    /// its digits allow. Allocates half of the factor's memory beside it and then, the factor gone,
    /// [`Factor::inverse_in_f32_bytes`], the result included.
    pub fn inverse_in_f32(self) -> Symmetric<f32> {
        let rounded = self.lower.tiles.to_f32();
        drop(self);
        Factor::new(rounded).inverse().square()
    }

    /// The most memory that [`Factor::inverse_in_f32`] allocates on so many threads.
    pub fn inverse_in_f32_bytes(order: usize, threads: usize) -> u64 {
        let row = order.next_multiple_of(TILE) * TILE * size_of::<f32>();
        2 * Symmetric::bytes_in_f32(order) + (Self::inverse_bytes(order, threads) + row) as u64
    }
}

impl<T: Real> Factor<T> {
    /// `L^-1`. Allocates the result and [`Factor::inverse_bytes`].
    pub fn inverse(&self) -> Lower<T> {
        let mut inverse = Tiles::zeros(self.order());
        let columns = inverse.columns_mut().into_par_iter().enumerate().with_max_len(1);
        columns.for_each(|(j, tiles)| {
            let solved = self.inverse_columns(j);
            for (tile, i) in tiles.into_iter().zip(j..) {
                transpose(solved.block(i), tile);
            }
        });
        Lower { tiles: inverse }
    }

    /// The columns of `L^-1` that a tile has, as rows: unit vectors times `L^-T`.
    fn inverse_columns(&self, j: usize) -> Blocks<T> {
        let mut blocks = Blocks::zeros(TILE, self.order());
        let (_, block, _) = blocks.around(j);
        block.iter_mut().step_by(TILE + 1).for_each(|element| *element = T::nearest(1.0));
        self.forward(&mut blocks, j);
        blocks
    }
}

impl Factor {
    /// The diagonal of `(L L^T)^-1`: for each column of `L^-1`, the sum of its squares. Allocates the
    /// result and [`Factor::inverse_bytes`].
    pub fn inverse_diagonal(&self) -> Vec<f64> {
        let mut diagonal = vec![0.0; self.order()];
        let parts = diagonal.par_chunks_mut(TILE).enumerate().with_max_len(1);
        parts.for_each(|(j, sums)| {
            let solved = self.inverse_columns(j);
            for i in j..self.lower.tiles.count() {
                for (sum, column) in sums.iter_mut().zip(solved.block(i).chunks_exact(TILE)) {
                    *sum += column.iter().map(|value| value * value).sum::<f64>();
                }
            }
        });
        diagonal
    }

    /// The most memory that [`Factor::inverse`] or [`Factor::inverse_diagonal`] allocates on so many
    /// threads, beside its result.
    pub fn inverse_bytes(order: usize, threads: usize) -> usize {
        let tiles = order.div_ceil(TILE);
        threads * (Blocks::<f64>::bytes(TILE, order) + WORKSPACE)
            + tiles * (2 * tiles + 4) * size_of::<&mut [f64]>()
    }
}

impl<T: Real> Lower<T> {
    /// `M^T M` of this triangle M, in its own memory but for a row of tiles.
    fn square(mut self) -> Symmetric<T> {
        for i in 0..self.tiles.count() {
            let tiles = &self.tiles;
            let mut row = vec![T::default(); (i + 1) * AREA];
            row.par_chunks_mut(AREA).enumerate().with_max_len(1).for_each(|(j, sums)| {
                for k in i..tiles.count() {
                    add_transposed_product(sums, tiles.tile(k, i), tiles.tile(k, j));
                }
            });
            // The rows that follow read none of this one.
            self.tiles.row_mut(i).copy_from_slice(&row);
        }
        Symmetric::of(self.tiles)
    }
}

fn transpose<T: Copy>(from: &[T], to: &mut [T]) {
    for (row, to) in to.chunks_exact_mut(TILE).enumerate() {
        for (column, to) in to.iter_mut().enumerate() {
            *to = from[column * TILE + row];
        }
    }
}
