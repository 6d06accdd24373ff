//! Sums of products of two kinds of rows.

#[cfg(test)]
mod tests;

use crate::Gemm;
use crate::packed::Packed;
use crate::piece::{PIECE, Transposed, together};
use rayon::prelude::*;
use std::ops::Range;

/// A matrix in f32 that sums `left^T right`: element `[i, j]` belongs to column i of the left
/// rows and column j of the right.
///
/// Work is spread over the rayon pool in which it is called. Results do not depend on the number of
/// threads.
#[derive(Clone)]
pub struct Cross {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl Cross {
    /// A square matrix `[order, order]` of zeros.
    pub fn zeros(order: usize) -> Self {
        Self::rectangle(order, order)
    }

    /// A matrix `[rows, columns]` of zeros.
    pub fn rectangle(rows: usize, columns: usize) -> Self {
        let elements = rows.checked_mul(columns).expect("a matrix fits the address space");
        Self { rows, columns, values: vec![0.0; elements] }
    }

    /// The memory that a matrix `[rows, columns]` holds.
    pub fn bytes(rows: usize, columns: usize) -> u64 {
        (rows as u64).saturating_mul(columns as u64).saturating_mul(size_of::<f32>() as u64)
    }

    /// Rows, and columns, of a square matrix.
    pub fn order(&self) -> usize {
        assert_eq!(self.rows, self.columns, "a square matrix");
        self.columns
    }

    /// An element.
    pub fn get(&self, row: usize, column: usize) -> f32 {
        assert!(row < self.rows && column < self.columns);
        self.values[row * self.columns + column]
    }

    /// All of the matrix, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All of the matrix, and it is gone.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Adds `left^T right`, `[count, rows]` and `[count, columns]`.
    ///
    /// Pieces are scaled as in [`crate::Symmetric::add_products`]; their sums are f32, so that only
    /// what is itself beyond f32 becomes infinite. Allocates [`Cross::add_products_bytes`].
    pub fn add_products(&mut self, gemm: Gemm, left: &[f32], right: &[f32]) {
        if left.is_empty() || right.is_empty() {
            return;
        }
        let count = left.len() / self.rows;
        assert!(
            left.len() == count * self.rows && right.len() == count * self.columns,
            "whole rows"
        );
        let whole = count - count % PIECE;
        let (left, last_left) = left.split_at(whole * self.rows);
        let (right, last_right) = right.split_at(whole * self.columns);
        let together = together(self.rows.max(self.columns)) * PIECE;
        let groups = left.chunks(together * self.rows).zip(right.chunks(together * self.columns));
        groups.for_each(|(left, right)| self.add_pieces(gemm, left, right, PIECE));
        if whole < count {
            self.add_pieces(gemm, last_left, last_right, count - whole);
        }
    }

    /// The most memory that [`Cross::add_products`] allocates on so many threads.
    pub fn add_products_bytes(gemm: Gemm, rows: usize, columns: usize, threads: usize) -> usize {
        let each = gemm.scratch_bytes(ROWS, PIECE) + ROWS * WIDTH * size_of::<f32>();
        let pieces = together(rows.max(columns));
        let transposed = Transposed::bytes(rows, pieces) + Transposed::bytes(columns, pieces);
        transposed + Transposed::packed_bytes(gemm, columns, pieces) + threads * each
    }

    /// Adds a matrix of the same size.
    pub fn add(&mut self, other: &Self) {
        assert_eq!((self.rows, self.columns), (other.rows, other.columns));
        let pairs = self.values.par_iter_mut().zip(&other.values);
        pairs.with_min_len(PART).for_each(|(sum, term)| *sum += term);
    }

    /// Multiplies every element.
    pub fn scale(&mut self, factor: f32) {
        self.values.par_iter_mut().with_min_len(PART).for_each(|value| *value *= factor);
    }

    /// Divides row i by `divisors[i]`.
    pub fn divide_rows(&mut self, divisors: &[f32]) {
        assert_eq!(divisors.len(), self.rows);
        let rows = self.values.par_chunks_mut(self.columns.max(1)).zip(divisors);
        rows.for_each(|(row, divisor)| row.iter_mut().for_each(|value| *value /= divisor));
    }

    /// Divides column j by `divisors[j]`.
    pub fn divide_columns(&mut self, divisors: &[f32]) {
        assert_eq!(divisors.len(), self.columns);
        let rows = self.values.par_chunks_mut(self.columns.max(1));
        rows.for_each(|row| {
            row.iter_mut().zip(divisors).for_each(|(value, divisor)| *value /= divisor);
        });
    }

    /// Adds pieces of so many rows, to each element in their order.
    fn add_pieces(&mut self, gemm: Gemm, left: &[f32], right: &[f32], size: usize) {
        let left = Transposed::new(left, self.rows, size);
        let right = Transposed::new(right, self.columns, size);
        let (packed, width) = (right.packed(gemm), self.columns);
        let bands = self.values.par_chunks_mut(ROWS * width).enumerate().with_max_len(1);
        bands.for_each(|(band, sums)| {
            let rows = band * ROWS..band * ROWS + sums.len() / width;
            for piece in 0..right.count() {
                add_piece(gemm, piece, (&left, &rows), (&right, &packed), sums);
            }
        });
    }
}

/// Adds what a piece contributes to some rows.
fn add_piece(
    gemm: Gemm,
    piece: usize,
    (left, rows): (&Transposed, &Range<usize>),
    (right, packed): (&Transposed, &Packed),
    sums: &mut [f32],
) {
    let width = right.columns;
    let mut products = vec![0.0; rows.len() * WIDTH.min(width)];
    for first in (0..width).step_by(WIDTH) {
        let columns = first..width.min(first + WIDTH);
        let products = &mut products[..rows.len() * columns.len()];
        let inputs = left.inputs(piece, rows.clone());
        gemm.multiply(inputs, packed, right.weights(piece, columns.clone()), products);
        let each = sums.chunks_exact_mut(width).zip(products.chunks_exact(columns.len()));
        for ((sums, products), scale) in each.zip(&left.scales(piece)[rows.clone()]) {
            let sums = sums[columns.clone()].iter_mut().zip(products);
            for ((sum, product), other) in sums.zip(&right.scales(piece)[columns.clone()]) {
                *sum += (f64::from(*product) * (scale * other)) as f32;
            }
        }
    }
}

/// Rows of the matrix that are computed together.
const ROWS: usize = 128;

/// Columns of the matrix that are computed together.
const WIDTH: usize = 512;

/// Elements that a thread takes at least.
const PART: usize = 1 << 14;
