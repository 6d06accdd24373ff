//! Sums of products of two kinds of rows.

#[cfg(test)]
mod tests;

use crate::Gemm;
use crate::packed::Packed;
use crate::piece::{PIECE, Transposed};
use rayon::prelude::*;

/// A square matrix in f32 that sums `left^T right`: element `[i, j]` belongs to column i of the left
/// rows and column j of the right.
///
/// Work is spread over the rayon pool in which it is called. Results do not depend on the number of
/// threads.
#[derive(Clone)]
pub struct Cross {
    order: usize,
    values: Vec<f32>,
}

impl Cross {
    /// A matrix `[order, order]` of zeros.
    pub fn zeros(order: usize) -> Self {
        let elements = order.checked_mul(order).expect("a matrix fits the address space");
        Self { order, values: vec![0.0; elements] }
    }

    /// The memory that a matrix of this order holds.
    pub fn bytes(order: usize) -> u64 {
        (order as u64).saturating_mul(order as u64).saturating_mul(size_of::<f32>() as u64)
    }

    /// Rows, and columns.
    pub fn order(&self) -> usize {
        self.order
    }

    /// An element.
    pub fn get(&self, row: usize, column: usize) -> f32 {
        assert!(row < self.order && column < self.order);
        self.values[row * self.order + column]
    }

    /// All of the matrix, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Adds `left^T right`, both `[count, order]`.
    ///
    /// Pieces are scaled as in [`crate::Symmetric::add_products`]; their sums are f32, so that only
    /// what is itself beyond f32 becomes infinite. Allocates [`Cross::add_products_bytes`].
    pub fn add_products(&mut self, gemm: Gemm, left: &[f32], right: &[f32]) {
        assert_eq!(left.len(), right.len());
        if left.is_empty() {
            return;
        }
        assert!(self.order > 0 && left.len().is_multiple_of(self.order), "whole rows");
        let whole = left.len() - left.len() % (PIECE * self.order);
        self.add_pieces(gemm, &left[..whole], &right[..whole], PIECE);
        self.add_pieces(gemm, &left[whole..], &right[whole..], (left.len() - whole) / self.order);
    }

    /// The most memory that [`Cross::add_products`] allocates on so many threads.
    pub fn add_products_bytes(gemm: Gemm, order: usize, threads: usize) -> usize {
        let each = gemm.scratch_bytes(ROWS, PIECE) + ROWS * WIDTH * size_of::<f32>();
        2 * Transposed::bytes(order) + Transposed::packed_bytes(gemm, order) + threads * each
    }

    /// Adds a matrix of the same order.
    pub fn add(&mut self, other: &Self) {
        assert_eq!(self.order, other.order);
        let pairs = self.values.par_iter_mut().zip(&other.values);
        pairs.with_min_len(PART).for_each(|(sum, term)| *sum += term);
    }

    /// Multiplies every element.
    pub fn scale(&mut self, factor: f32) {
        self.values.par_iter_mut().with_min_len(PART).for_each(|value| *value *= factor);
    }

    /// Pieces of equal size.
    fn add_pieces(&mut self, gemm: Gemm, left: &[f32], right: &[f32], size: usize) {
        let length = size.max(1) * self.order;
        let mut pieces = left.chunks(length).zip(right.chunks(length));
        let Some((left, right)) = pieces.next() else { return };
        let mut left = Transposed::new(left, self.order);
        let mut right = Transposed::new(right, self.order);
        let mut packed = gemm.pack(self.order, size);
        self.add_piece(gemm, &left, &right, &mut packed);
        for (next_left, next_right) in pieces {
            left.fill(next_left);
            right.fill(next_right);
            self.add_piece(gemm, &left, &right, &mut packed);
        }
    }

    fn add_piece(
        &mut self,
        gemm: Gemm,
        left: &Transposed,
        right: &Transposed,
        packed: &mut Packed,
    ) {
        right.pack(packed);
        let order = self.order;
        let bands = self.values.par_chunks_mut(ROWS * order).enumerate().with_max_len(1);
        bands.for_each(|(band, sums)| {
            let rows = band * ROWS..band * ROWS + sums.len() / order;
            let mut products = vec![0.0; rows.len() * WIDTH.min(order)];
            for first in (0..order).step_by(WIDTH) {
                let columns = first..order.min(first + WIDTH);
                let products = &mut products[..rows.len() * columns.len()];
                gemm.multiply(left.columns(rows.clone()), packed, columns.clone(), products);
                let each = sums.chunks_exact_mut(order).zip(products.chunks_exact(columns.len()));
                for ((sums, products), scale) in each.zip(&left.scales[rows.clone()]) {
                    let sums = sums[columns.clone()].iter_mut().zip(products);
                    for ((sum, product), other) in sums.zip(&right.scales[columns.clone()]) {
                        *sum += (f64::from(*product) * (scale * other)) as f32;
                    }
                }
            }
        });
    }
}

/// Rows of the matrix that are computed together.
const ROWS: usize = 128;

/// Columns of the matrix that are computed together.
const WIDTH: usize = 512;

/// Elements that a thread takes at least.
const PART: usize = 1 << 14;
