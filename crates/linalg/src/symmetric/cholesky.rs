//! The Cholesky factor, in place.

use super::Symmetric;
use crate::dense::{WORKSPACE, add_product_transposed, solve_transposed};
use crate::factor::Factor;
use crate::tiles::{AREA, TILE};
use rayon::prelude::*;

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
        let mut rows = self.tiles.rows_mut();
        for k in 0..rows.len() {
            let (above, below) = rows.split_at_mut(k + 1);
            let (before, diagonal) = above[k].split_at_mut(k * AREA);
            factorize(diagonal).map_err(|(column, pivot)| NotPositiveDefinite {
                column: k * TILE + column,
                pivot,
            })?;
            below.par_iter_mut().with_max_len(1).for_each(|row| advance(row, before, diagonal));
        }
        Ok(Factor::new(self.tiles))
    }

    /// The most memory that [`Symmetric::cholesky`] allocates on so many threads.
    pub fn cholesky_bytes(order: usize, threads: usize) -> usize {
        order.div_ceil(TILE) * size_of::<&mut [f64]>() + threads * WORKSPACE
    }
}

/// Computes a row's tile below a tile of the diagonal of the factor, given the tiles before that, and
/// subtracts what it takes from the row's own tile of the diagonal.
fn advance(row: &mut [f64], before: &[f64], diagonal: &[f64]) {
    let (done, rest) = row.split_at_mut(before.len());
    let (tile, rest) = rest.split_at_mut(AREA);
    for (left, above) in done.chunks_exact(AREA).zip(before.chunks_exact(AREA)) {
        add_product_transposed(tile, -1.0, left, above);
    }
    solve_transposed(tile, diagonal);
    let own = rest.len() - AREA;
    add_product_transposed(&mut rest[own..], -1.0, tile, tile);
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
