//! Weights that make up for inputs that have changed.

use crate::lanes::ROWS;
use crate::packing::{packed, packed_bytes};
use crate::settings::Correction;
use crate::solver::Solver;
use llmopt_linalg::{Cross, Factor, Gemm};
use rayon::prelude::*;

impl Solver<'_> {
    /// What the codes of `weights` are to come close to, with columns in the solver's order.
    pub(crate) fn targets(&self, weights: &[f32]) -> Vec<f32> {
        let mut targets = match (self.settings.correction, self.moments.cross) {
            (Correction::Whole { share }, Some(cross)) => self.corrections(weights, cross, share),
            _ => vec![0.0; weights.len()],
        };
        add_ordered(&mut targets, weights, 1.0, &self.order);
        targets
    }

    /// `share * (W D + R) H^-1`.
    fn corrections(&self, weights: &[f32], cross: &Cross, share: f64) -> Vec<f32> {
        let (order, columns) = (&self.order, self.columns());
        // The Gram matrix in the factor is that of the moments times `unit`.
        let factor = (self.unit * share) as f32;
        if self.moments.residual.is_none() && solves_first(weights.len() / columns, columns) {
            let mut solved = vec![0.0; columns * columns];
            add_ordered(&mut solved, cross.values(), factor, order);
            self.factor.solve_rows(&mut solved);
            let places: Vec<usize> = (0..columns).collect();
            return products(self.gemm, weights, &solved, 1.0, &places);
        }
        let mut corrections = products(self.gemm, weights, cross.values(), factor, order);
        if let Some(residual) = self.moments.residual {
            add_ordered(&mut corrections, residual, factor, order);
        }
        self.factor.solve_rows(&mut corrections);
        corrections
    }

    /// The most memory that [`Solver::targets`] takes beside its result.
    pub(crate) fn targets_bytes(gemm: Gemm, rows: usize, columns: usize, threads: usize) -> usize {
        let solved = if solves_first(rows, columns) { 4 * columns * columns } else { 0 };
        let solving = Factor::solve_rows_bytes(columns, threads);
        solved + products_bytes(gemm, columns, threads) + solving
    }
}

/// Whether `W (D H^-1)` takes less than `(W D) H^-1`.
fn solves_first(rows: usize, columns: usize) -> bool {
    rows > columns
}

/// `sums[r, p] += factor * rows[r, order[p]]`.
fn add_ordered(sums: &mut [f32], rows: &[f32], factor: f32, order: &[usize]) {
    assert_eq!(sums.len(), rows.len());
    let rows = sums.par_chunks_mut(order.len()).zip(rows.par_chunks(order.len()));
    rows.for_each(|(sums, row)| {
        for (sum, &column) in sums.iter_mut().zip(order) {
            *sum += factor * row[column];
        }
    });
}

/// `rows * square * factor`, `[count, columns]`: column `order[p]` of the products at place `p`.
///
/// Allocates its result and [`products_bytes`].
pub(crate) fn products(
    gemm: Gemm,
    rows: &[f32],
    square: &[f32],
    factor: f32,
    order: &[usize],
) -> Vec<f32> {
    let columns = order.len();
    let mut products = vec![0.0; rows.len()];
    for (strip, places) in order.chunks(STRIP).enumerate() {
        let first = strip * STRIP;
        let packed = packed(gemm, places.len(), columns, |band, out| {
            let places = &places[band];
            for (row, values) in square.chunks_exact(columns).enumerate() {
                for (place, &column) in places.iter().enumerate() {
                    out[place * columns + row] = values[column] * factor;
                }
            }
        });
        let chunks = rows.par_chunks(ROWS * columns).zip(products.par_chunks_mut(ROWS * columns));
        chunks.for_each(|(rows, products)| {
            let mut strips = vec![0.0; rows.len() / columns * places.len()];
            gemm.multiply(rows, &packed, 0..places.len(), &mut strips);
            let each = strips.chunks_exact(places.len()).zip(products.chunks_exact_mut(columns));
            for (strip, products) in each {
                products[first..][..strip.len()].copy_from_slice(strip);
            }
        });
    }
    products
}

/// The most memory that [`products`] takes beside its result.
pub(crate) fn products_bytes(gemm: Gemm, columns: usize, threads: usize) -> usize {
    let width = STRIP.min(columns);
    let multiplying = gemm.scratch_bytes(ROWS, columns) + ROWS * width * size_of::<f32>();
    packed_bytes(gemm, width, columns, threads) + threads * multiplying
}

/// Columns of the products that are computed together.
const STRIP: usize = 512;
