//! The inverse of the factor.

use super::{Factor, Lower};
use crate::dense::{Blocks, WORKSPACE};
use crate::tiles::{TILE, Tiles};
use rayon::prelude::*;

impl Factor {
    /// `L^-1`. Allocates the result and [`Factor::inverse_bytes`].
    pub fn inverse(&self) -> Lower {
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
        threads * (Blocks::bytes(TILE, order) + WORKSPACE)
            + tiles * (2 * tiles + 4) * size_of::<&mut [f64]>()
    }

    /// The columns of `L^-1` that a tile has, as rows: unit vectors times `L^-T`.
    fn inverse_columns(&self, j: usize) -> Blocks {
        let mut blocks = Blocks::zeros(TILE, self.order());
        let (_, block, _) = blocks.around(j);
        block.iter_mut().step_by(TILE + 1).for_each(|element| *element = 1.0);
        self.forward(&mut blocks, j);
        blocks
    }
}

fn transpose(from: &[f64], to: &mut [f64]) {
    for (row, to) in to.chunks_exact_mut(TILE).enumerate() {
        for (column, to) in to.iter_mut().enumerate() {
            *to = from[column * TILE + row];
        }
    }
}
