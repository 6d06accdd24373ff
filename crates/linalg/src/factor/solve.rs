//! Rows times the inverse of the factored matrix.

use super::Factor;
use crate::dense::{
    Blocks, WORKSPACE, add_product, add_product_transposed, solve, solve_transposed,
};
use crate::real::Real;
use crate::tiles::{AREA, TILE};
use rayon::prelude::*;

impl Factor {
    /// `rows = rows * (L L^T)^-1`, `[count, order]`, in f64. Allocates [`Factor::solve_rows_bytes`].
    pub fn solve_rows(&self, rows: &mut [f32]) {
        let order = self.order();
        if rows.is_empty() {
            return;
        }
        assert!(order > 0 && rows.len().is_multiple_of(order), "whole rows");
        rows.par_chunks_mut(ROWS * order).for_each(|rows| {
            let mut blocks = Blocks::new(rows, order);
            self.forward(&mut blocks, 0);
            self.backward(&mut blocks);
            blocks.store(rows, order);
        });
    }

    /// The most memory that [`Factor::solve_rows`] allocates on so many threads.
    pub fn solve_rows_bytes(order: usize, threads: usize) -> usize {
        threads * (Blocks::<f64>::bytes(ROWS, order) + WORKSPACE)
    }

    /// `x = x L^-1`, block by block from the last.
    fn backward(&self, x: &mut Blocks) {
        let tiles = &self.lower.tiles;
        for j in (0..tiles.count()).rev() {
            let (_, block, after) = x.around(j);
            for (known, i) in after.chunks_exact(block.len()).zip(j + 1..) {
                add_product(block, -1.0, known, tiles.tile(i, j));
            }
            solve(block, tiles.tile(j, j));
        }
    }
}

impl<T: Real> Factor<T> {
    /// `x = x L^-T`, block by block, where blocks before the first are zero.
    pub(super) fn forward(&self, x: &mut Blocks<T>, first: usize) {
        let tiles = &self.lower.tiles;
        for i in first..tiles.count() {
            let (before, block, _) = x.around(i);
            let each = before.chunks_exact(block.len()).zip(tiles.row(i).chunks_exact(AREA));
            for (known, tile) in each.skip(first) {
                add_product_transposed(block, -1.0, known, tile);
            }
            solve_transposed(block, tiles.tile(i, i));
        }
    }
}

/// Rows that are solved together.
const ROWS: usize = TILE / 2;
