//! Weights that make up for inputs that have changed.

use crate::settings::Correction;
use crate::solver::Solver;
use llmopt_linalg::{Cross, Factor, Gemm};
use rayon::prelude::*;

impl Solver<'_> {
    /// What the codes of `weights` are to come close to, with columns in the solver's order.
    pub(crate) fn targets(&self, weights: &[f32], correction: Correction) -> Vec<f32> {
        match (correction, self.moments.cross) {
            (Correction::Whole { share }, Some(cross)) => {
                let mut targets = self.corrections(weights, cross, share);
                add_ordered(&mut targets, weights, 1.0, &self.order);
                targets
            }
            _ => ordered(weights, &self.order),
        }
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
            return self.gemm.ordered_products(weights, &solved, 1.0, &places);
        }
        let mut corrections = self.gemm.ordered_products(weights, cross.values(), factor, order);
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
        solved + gemm.ordered_products_bytes(columns, threads) + solving
    }
}

/// Whether `W (D H^-1)` takes less than `(W D) H^-1`.
fn solves_first(rows: usize, columns: usize) -> bool {
    rows > columns
}

/// `rows[r, order[p]]` at `[r, p]`.
fn ordered(rows: &[f32], order: &[usize]) -> Vec<f32> {
    let mut ordered = vec![0.0; rows.len()];
    let rows = ordered.par_chunks_mut(order.len()).zip(rows.par_chunks(order.len()));
    rows.for_each(|(ordered, row)| {
        for (value, &column) in ordered.iter_mut().zip(order) {
            *value = row[column];
        }
    });
    ordered
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
