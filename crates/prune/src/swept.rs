//! The tableau of a regression, from its sums.

use crate::regression::Regression;
use crate::tableau::Tableau;
use llmopt_linalg::{Factor, NotPositiveDefinite, Symmetric};
use rayon::prelude::*;

impl Regression<'_> {
    /// The tableau with all features inside, from a factor in f64. The original weights solve their own
    /// part of the equations as they are; what is solved is the residual.
    ///
    /// Allocates [`Regression::swept_bytes`], the result included.
    pub(crate) fn swept(&self) -> Result<Tableau, NotPositiveDefinite> {
        let every: Vec<usize> = (0..self.columns()).collect();
        let factor = self.gram.damped(&every, self.damping).cholesky()?;
        let mut rows = vec![0.0; self.weights.len()];
        if let Some(residual) = &self.residual {
            rows.copy_from_slice(residual);
            factor.solve_rows(&mut rows);
        }
        self.add_live_weights(&mut rows);
        let mut matrix = factor.inverse_in_f32();
        matrix.scale(-1.0);
        Ok(Tableau { matrix, rows, inside: vec![true; every.len()] })
    }

    /// Adds the original weights, but for those of inputs that nothing was seen of.
    fn add_live_weights(&self, rows: &mut [f32]) {
        let length = self.columns().max(1);
        let pairs = rows.par_chunks_mut(length).zip(self.weights.par_chunks(length));
        pairs.for_each(|(row, weights)| {
            for ((sum, weight), dead) in row.iter_mut().zip(weights).zip(&self.dead) {
                *sum += if *dead { 0.0 } else { *weight };
            }
        });
    }

    /// The most memory that [`Regression::swept`] takes on so many threads.
    pub(crate) fn swept_bytes(rows: usize, columns: usize, threads: usize) -> u64 {
        let factoring = Symmetric::cholesky_bytes(columns, threads);
        let solving = Factor::solve_rows_bytes(columns, threads);
        let beside = (factoring.max(solving) as u64).max(Symmetric::bytes_in_f32(columns));
        let inverting = Factor::inverse_in_f32_bytes(columns, threads);
        let lists = columns * (size_of::<usize>() + 1) + rows * columns * size_of::<f32>();
        lists as u64 + inverting.max(Symmetric::bytes(columns) + beside)
    }
}
