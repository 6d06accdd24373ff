//! Arithmetic on blocks as wide as a tile, on this thread alone.

use crate::real::Real;
use crate::tiles::{AREA, TILE};
use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::{
    solve_lower_triangular_in_place, solve_upper_triangular_in_place,
};
use faer::{Accum, MatMut, MatRef, Par};

/// What the library keeps for each thread that multiplies or solves, and little more: measured,
/// 0.24.4.
pub(crate) const WORKSPACE: usize = 5 << 20;

/// What so many threads keep that have multiplied or solved here, until they end.
pub fn kept_bytes(threads: usize) -> usize {
    threads * WORKSPACE
}

/// `out += factor * a * tile`, of `[rows, TILE]`, row-major.
pub(crate) fn add_product(out: &mut [f64], factor: f64, a: &[f64], tile: &[f64]) {
    accumulate(out, factor, a, square(tile));
}

/// `out += factor * a * tile^T`, of `[rows, TILE]`, row-major.
pub(crate) fn add_product_transposed<T: Real>(out: &mut [T], factor: f64, a: &[T], tile: &[T]) {
    accumulate(out, factor, a, square(tile).transpose());
}

/// `out += a^T * tile`, all of them tiles.
pub(crate) fn add_transposed_product<T: Real>(out: &mut [T], a: &[T], tile: &[T]) {
    let out = transposed_mut(out).transpose_mut();
    matmul(out, Accum::Add, square(a).transpose(), square(tile), T::nearest(1.0), Par::Seq);
}

/// `tile[..m, ..n] += factor * a * b^T`, where a is `[m, width]` and b `[n, width]`, row-major.
pub(crate) fn add_product_transposed_to_part<T: Real>(
    tile: &mut [T],
    factor: f64,
    a: &[T],
    b: &[T],
    width: usize,
) {
    let (m, n) = (a.len() / width, b.len() / width);
    let out = transposed_mut(tile).transpose_mut().submatrix_mut(0, 0, m, n);
    let a = MatRef::from_row_major_slice(a, m, width);
    let b = MatRef::from_row_major_slice(b, n, width).transpose();
    matmul(out, Accum::Add, a, b, T::nearest(factor), Par::Seq);
}

/// `out += factor * a * b^T`, where out is `[m, n]`, a `[m, inner]` and b `[n, inner]`, row-major.
pub(crate) fn add_rows_transposed<T: Real>(
    out: &mut [T],
    factor: f64,
    a: &[T],
    b: &[T],
    inner: usize,
) {
    let (m, n) = (a.len() / inner, b.len() / inner);
    let a = MatRef::from_row_major_slice(a, m, inner);
    // The library packs all of `b` for itself: a panel of it bounds what a thread takes.
    for (panel, b) in b.chunks(PANEL * inner).enumerate() {
        let out = MatMut::from_column_major_slice_mut(out, n, m).transpose_mut();
        let b = MatRef::from_row_major_slice(b, b.len() / inner, inner).transpose();
        let out = out.submatrix_mut(0, panel * PANEL, m, b.ncols());
        matmul(out, Accum::Add, a, b, T::nearest(factor), Par::Seq);
    }
}

/// `x = x * lower^-1`, where x is `[rows, TILE]`, row-major.
pub(crate) fn solve(x: &mut [f64], lower: &[f64]) {
    solve_upper_triangular_in_place(square(lower).transpose(), transposed_mut(x), Par::Seq);
}

/// `x = x * lower^-T`, where x is `[rows, TILE]`, row-major.
pub(crate) fn solve_transposed<T: Real>(x: &mut [T], lower: &[T]) {
    solve_lower_triangular_in_place(square(lower), transposed_mut(x), Par::Seq);
}

fn accumulate<T: Real>(out: &mut [T], factor: f64, a: &[T], tile: MatRef<'_, T>) {
    let a = MatRef::from_row_major_slice(a, a.len() / TILE, TILE);
    matmul(transposed_mut(out).transpose_mut(), Accum::Add, a, tile, T::nearest(factor), Par::Seq);
}

/// Rows of a matrix that are multiplied at once.
const PANEL: usize = 512;

fn square<T: Real>(tile: &[T]) -> MatRef<'_, T> {
    MatRef::from_row_major_slice(&tile[..AREA], TILE, TILE)
}

fn transposed_mut<T: Real>(x: &mut [T]) -> MatMut<'_, T> {
    let rows = x.len() / TILE;
    MatMut::from_column_major_slice_mut(x, TILE, rows)
}

/// Rows as blocks, each of a tile's columns of all the rows, and zeros beyond the last column.
pub(crate) struct Blocks<T = f64> {
    rows: usize,
    values: Vec<T>,
}

impl<T: Real> Blocks<T> {
    pub(crate) fn zeros(rows: usize, order: usize) -> Self {
        Self { rows, values: vec![T::default(); rows * order.next_multiple_of(TILE)] }
    }

    /// The memory of so many rows.
    pub(crate) fn bytes(rows: usize, order: usize) -> usize {
        rows * order.next_multiple_of(TILE) * size_of::<T>()
    }

    /// The columns of a tile, `[rows, TILE]`.
    pub(crate) fn block(&self, j: usize) -> &[T] {
        &self.values[j * self.rows * TILE..][..self.rows * TILE]
    }

    /// Blocks before one, that one, and those after it.
    pub(crate) fn around(&mut self, j: usize) -> (&[T], &mut [T], &[T]) {
        let (before, rest) = self.values.split_at_mut(j * self.rows * TILE);
        let (block, after) = rest.split_at_mut(self.rows * TILE);
        (before, block, after)
    }
}

impl Blocks {
    /// From rows of f32, `[count, order]`.
    pub(crate) fn new(rows: &[f32], order: usize) -> Self {
        let mut blocks = Self::zeros(rows.len() / order, order);
        for (j, block) in blocks.values.chunks_exact_mut(blocks.rows * TILE).enumerate() {
            for (row, block) in rows.chunks_exact(order).zip(block.chunks_exact_mut(TILE)) {
                for (value, out) in row[j * TILE..].iter().zip(block) {
                    *out = f64::from(*value);
                }
            }
        }
        blocks
    }

    /// Back to rows of f32.
    pub(crate) fn store(&self, rows: &mut [f32], order: usize) {
        for (j, block) in self.values.chunks_exact(self.rows * TILE).enumerate() {
            for (row, block) in rows.chunks_exact_mut(order).zip(block.chunks_exact(TILE)) {
                for (out, value) in row[j * TILE..].iter_mut().zip(block) {
                    *out = *value as f32;
                }
            }
        }
    }
}
