//! Weights for what is kept.

use crate::moments::Constant;
use crate::regression::{Regression, RegressionError};
use llmopt_linalg::{Factor, NotPositiveDefinite, Symmetric};
use rayon::prelude::*;

/// A matrix that reads what is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Refit {
    /// `[rows, kept]`, row-major.
    pub weights: Vec<f32>,
    /// What is added to the outputs, beside a bias that was there before: by row, where the moments
    /// have a constant.
    pub bias: Option<Vec<f32>>,
}

impl Regression<'_> {
    /// The weights of the kept columns, in ascending order, that bring the outputs closest to those
    /// asked for: `T_K (H_KK)^-1` with both damped, `T = sum t x^T + damping W` (the closed form of
    /// ZipLM, 2302.04089, and OSSCAR, 2403.12983). Computed as what is added to the
    /// original weights.
    ///
    /// Allocates [`Regression::refit_bytes`].
    ///
    /// # Errors
    /// [`RegressionError::NotPositiveDefinite`] if no damping is enough.
    ///
    /// # Panics
    /// If the columns do not ascend, or are beyond the matrix.
    pub fn refit(&mut self, kept: &[usize]) -> Result<Refit, RegressionError> {
        assert!(kept.is_sorted_by(|a, b| a < b) && kept.last().is_none_or(|&k| k < self.columns()));
        self.steadied(|regression| regression.refitted(kept))
    }

    fn refitted(&self, kept: &[usize]) -> Result<Refit, NotPositiveDefinite> {
        let stays = |column: &usize| kept.binary_search(column).is_ok();
        let removed: Vec<usize> = (0..self.columns()).filter(|column| !stays(column)).collect();
        let mut weights = to_f32(self.right_hand_side(&removed, kept));
        self.gram.damped(kept, self.damping).cholesky()?.solve_rows(&mut weights);
        let original = self.weights.par_chunks(self.columns().max(1));
        let rows = weights.par_chunks_mut(kept.len().max(1)).zip(original);
        rows.for_each(|(row, original)| {
            row.iter_mut().zip(kept).for_each(|(weight, &column)| *weight += original[column]);
        });
        let bias = self.constant.map(|constant| self.bias(&constant, kept, &weights));
        Ok(Refit { weights, bias })
    }

    /// The most memory that [`Regression::refit`] takes on so many threads.
    pub fn refit_bytes(rows: usize, columns: usize, kept: usize, threads: usize) -> u64 {
        let elements = rows * kept;
        let asking = Self::right_hand_side_bytes(rows, columns, threads)
            + (elements * size_of::<f32>()) as u64;
        let factoring = Symmetric::cholesky_bytes(kept, threads) as u64;
        let solving = Symmetric::bytes(kept)
            + factoring.max(Factor::solve_rows_bytes(kept, threads) as u64)
            + (elements * size_of::<f32>()) as u64;
        let lists = columns * size_of::<usize>() + rows * size_of::<f32>();
        lists as u64 + ((elements * size_of::<f64>()) as u64 + asking).max(solving)
    }

    /// The mean of what the refitted weights leave: `(sum t - W' sum x_K) / tokens`.
    fn bias(&self, constant: &Constant<'_>, kept: &[usize], weights: &[f32]) -> Vec<f32> {
        let inputs: Vec<f64> = kept.iter().map(|&column| constant.inputs[column]).collect();
        let before = self.weights.chunks(self.columns().max(1));
        let bias = |(row, before): (usize, &[f32])| {
            let after = &weights[row * kept.len()..][..kept.len()];
            let residual = constant.residual.map_or(0.0, |residual| residual[row]);
            let left = residual + dot(before, constant.inputs) - dot(after, &inputs);
            (left / constant.tokens as f64) as f32
        };
        before.enumerate().map(bias).collect()
    }
}

fn to_f32(values: Vec<f64>) -> Vec<f32> {
    values.into_par_iter().with_min_len(PART).map(|value| value as f32).collect()
}

fn dot(weights: &[f32], inputs: &[f64]) -> f64 {
    weights.iter().zip(inputs).map(|(weight, input)| f64::from(*weight) * input).sum()
}

/// Elements that a thread takes at least.
const PART: usize = 1 << 14;
