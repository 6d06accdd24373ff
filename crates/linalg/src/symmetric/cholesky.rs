//! The Cholesky factor, in place.

use super::Symmetric;
use crate::Gemm;
use crate::dense::{WORKSPACE, add_product_transposed, solve_transposed};
use crate::factor::Factor;
use crate::piece::Transposed;
use crate::tiles::{AREA, TILE, Tiles};
use rayon::prelude::*;
use std::ops::Range;

/// A matrix that has no Cholesky factor in f64.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the matrix is not positive definite: pivot {pivot:e} in column {column}")]
pub struct NotPositiveDefinite {
    /// The first column without a positive, finite pivot.
    pub column: usize,
    /// What remained of its diagonal element.
    pub pivot: f64,
}

impl Symmetric {
    /// The factor, in the memory of the matrix. Allocates [`Symmetric::cholesky_bytes`].
    ///
    /// # Errors
    /// [`NotPositiveDefinite`] where a pivot is not a positive number. The matrix is lost then.
    pub fn cholesky(mut self) -> Result<Factor, NotPositiveDefinite> {
        self.tiles.pad_with_identity();
        let every = 0..self.tiles.count();
        self.factor_panel(every.clone(), every.end)?;
        Ok(Factor::new(self.tiles))
    }

    /// The factor as [`Symmetric::cholesky`] computes it, but for what panels of columns take from those
    /// after them: that is multiplied by `gemm`, in f32, and subtracted in f64. Relative to the diagonal
    /// elements of its row and column, an element is then as exact as a sum of `PANEL` tiles' products
    /// in f32, as those of [`Symmetric::add_products`] are. With the portable kernel all is in f64.
    ///
    /// Of a matrix whose elements are beyond f32 there is no such factor. Allocates
    /// [`Symmetric::cholesky_by_bytes`].
    ///
    /// # Errors
    /// As [`Symmetric::cholesky`].
    pub fn cholesky_by(mut self, gemm: Gemm) -> Result<Factor, NotPositiveDefinite> {
        if gemm.is_portable() {
            return self.cholesky();
        }
        self.tiles.pad_with_identity();
        let count = self.tiles.count();
        for first in (0..count).step_by(PANEL) {
            let panel = first..count.min(first + PANEL);
            self.factor_panel(panel.clone(), count)?;
            self.subtract_panel(gemm.in_f32(), panel);
        }
        Ok(Factor::new(self.tiles))
    }

    /// The most memory that [`Symmetric::cholesky_by`] allocates on so many threads.
    pub fn cholesky_by_bytes(gemm: Gemm, order: usize, threads: usize) -> usize {
        let dense = Self::cholesky_bytes(order, threads);
        if gemm.is_portable() || order <= PANEL * TILE {
            return dense;
        }
        let subtracting = Self::add_pieces_bytes(gemm.in_f32(), order, 1, threads);
        dense + Transposed::bytes(order, 1) + subtracting + order * size_of::<f64>()
    }

    /// Computes the columns of tiles in `panel` of the factor, for the rows of tiles up to `end`, given
    /// that columns before the panel have taken from these what they take.
    fn factor_panel(&mut self, panel: Range<usize>, end: usize) -> Result<(), NotPositiveDefinite> {
        let mut rows = self.tiles.rows_mut();
        for k in panel.clone() {
            let (above, below) = rows[..end].split_at_mut(k + 1);
            let (before, diagonal) = above[k].split_at_mut(k * AREA);
            let before = &before[panel.start * AREA..];
            factorize(diagonal).map_err(|(column, pivot)| NotPositiveDefinite {
                column: k * TILE + column,
                pivot,
            })?;
            let below = below.par_iter_mut().enumerate().with_max_len(1);
            below.for_each(|(i, row)| {
                advance(&mut row[panel.start * AREA..], before, diagonal);
                if k + 1 + i < panel.end {
                    subtract_from_diagonal(row, k);
                }
            });
        }
        Ok(())
    }

    /// Subtracts from the tiles behind a panel what its columns take from them.
    fn subtract_panel(&mut self, gemm: Gemm, panel: Range<usize>) {
        let first = panel.end;
        if first == self.tiles.count() {
            return;
        }
        let piece = columns_in_f32(&self.tiles, panel);
        let packed = piece.packed(gemm);
        let minus = vec![-1.0; piece.scales.len()];
        let spans = self.spans_from(first);
        spans.into_par_iter().with_max_len(1).for_each(|mut span| {
            span.add(gemm, (&piece, 0), &minus, &packed);
        });
    }

    /// The most memory that [`Symmetric::cholesky`] allocates on so many threads.
    pub fn cholesky_bytes(order: usize, threads: usize) -> usize {
        order.div_ceil(TILE) * size_of::<&mut [f64]>() + threads * WORKSPACE
    }
}

/// Columns of tiles that are computed in f64 before what they take from the others is subtracted: 512
/// columns, as many products as [`Symmetric::add_products`] sums in f32.
const PANEL: usize = 4;

/// The elements below a panel, as rows of f32.
fn columns_in_f32(tiles: &Tiles, panel: Range<usize>) -> Transposed {
    let (first, depth) = (panel.end, panel.len() * TILE);
    let count = tiles.order() - first * TILE;
    let mut values = vec![0.0; count * depth];
    values.par_chunks_mut(TILE * depth).enumerate().for_each(|(i, rows)| {
        let held = tiles.row(first + i)[panel.start * AREA..].chunks_exact(AREA).take(panel.len());
        for (j, tile) in held.enumerate() {
            for (row, from) in rows.chunks_exact_mut(depth).zip(tile.chunks_exact(TILE)) {
                for (to, from) in row[j * TILE..][..TILE].iter_mut().zip(from) {
                    *to = *from as f32;
                }
            }
        }
    });
    Transposed { values, scales: vec![1.0; count], rows: depth, columns: count }
}

/// Computes a row's tile below a tile of the diagonal of the factor, given the tiles before that.
fn advance(row: &mut [f64], before: &[f64], diagonal: &[f64]) {
    let (done, rest) = row.split_at_mut(before.len());
    let tile = &mut rest[..AREA];
    for (left, above) in done.chunks_exact(AREA).zip(before.chunks_exact(AREA)) {
        add_product_transposed(tile, -1.0, left, above);
    }
    solve_transposed(tile, diagonal);
}

/// Subtracts what the tile in column `k` takes from the row's own tile of the diagonal.
fn subtract_from_diagonal(row: &mut [f64], k: usize) {
    let (others, own) = row.split_at_mut(row.len() - AREA);
    let tile = &others[k * AREA..][..AREA];
    add_product_transposed(own, -1.0, tile, tile);
}

/// The factor of one tile, or the column that has none.
fn factorize(tile: &mut [f64]) -> Result<(), (usize, f64)> {
    for k in 0..TILE {
        let pivot = tile[k * TILE + k];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return Err((k, pivot));
        }
        let root = pivot.sqrt();
        tile[k * TILE + k] = root;
        let mut column = [0.0; TILE];
        for i in k + 1..TILE {
            tile[i * TILE + k] /= root;
            column[i] = tile[i * TILE + k];
        }
        for i in k + 1..TILE {
            let row = &mut tile[i * TILE..][k + 1..=i];
            for (value, other) in row.iter_mut().zip(&column[k + 1..]) {
                *value -= column[i] * other;
            }
        }
    }
    Ok(())
}
