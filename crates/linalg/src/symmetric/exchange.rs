//! Blocks of a matrix read and written, and updates of low rank.

use super::Symmetric;
use crate::dense::{WORKSPACE, add_product_transposed_to_part};
use crate::real::Real;
use crate::tiles::{AREA, TILE};
use rayon::prelude::*;

impl<T: Real> Symmetric<T> {
    /// `self[rows, columns]`, `[rows.len(), columns.len()]`, row-major. Allocates the result alone.
    pub fn block(&self, rows: &[usize], columns: &[usize]) -> Vec<T> {
        let mut block = vec![T::default(); rows.len() * columns.len()];
        let chunks = block.par_chunks_mut((TILE * columns.len()).max(1)).zip(rows.par_chunks(TILE));
        chunks.for_each(|(block, rows)| {
            for (&row, block) in rows.iter().zip(block.chunks_exact_mut(columns.len())) {
                for (&column, value) in columns.iter().zip(block) {
                    *value = self.get(row, column);
                }
            }
        });
        block
    }

    /// Sets whole columns, and the rows that mirror them, from `[order, columns.len()]`, row-major.
    /// Of two places that mirror each other within these columns, the one in the later row wins.
    pub fn set_columns(&mut self, columns: &[usize], values: &[T]) {
        assert_eq!(values.len(), self.order() * columns.len());
        if columns.is_empty() {
            return;
        }
        for (row, values) in values.chunks_exact(columns.len()).enumerate() {
            for (&column, &value) in columns.iter().zip(values) {
                self.set(row, column, value);
            }
        }
    }

    /// `self += factor * rows * rows^T`, where rows are `[order, width]`, row-major. Allocates
    /// [`Symmetric::add_outer_bytes`].
    pub fn add_outer(&mut self, factor: f64, rows: &[T], width: usize) {
        assert_eq!(rows.len(), self.order() * width);
        if rows.is_empty() {
            return;
        }
        let lines = self.tiles.rows_mut().into_par_iter().zip(rows.par_chunks(TILE * width));
        lines.with_max_len(1).for_each(|(tiles, own)| {
            for (tile, others) in tiles.chunks_exact_mut(AREA).zip(rows.chunks(TILE * width)) {
                add_product_transposed_to_part(tile, factor, own, others, width);
            }
        });
    }
}

impl Symmetric {
    /// The most memory that [`Symmetric::add_outer`] allocates on so many threads.
    pub fn add_outer_bytes(order: usize, threads: usize) -> usize {
        order.div_ceil(TILE) * size_of::<&mut [f64]>() + threads * WORKSPACE
    }
}
