//! The tableau of a regression, from its sums.

use crate::gather::scatter;
use crate::regression::{CHUNK, Regression};
use crate::tableau::Tableau;
use llmopt_linalg::{Factor, NotPositiveDefinite, Symmetric};

impl Regression<'_> {
    /// The tableau with all features inside, from a factor in f64. The original weights solve their own
    /// part of the equations as they are; what is solved is what outputs lack.
    ///
    /// Allocates [`Regression::everything_bytes`], the result included.
    pub(crate) fn everything(&self) -> Result<Tableau, NotPositiveDefinite> {
        let every: Vec<usize> = (0..self.columns()).collect();
        let factor = self.gram.damped(&every, self.damping).cholesky()?;
        let mut rows = match &self.drift {
            Some(drift) => drift.clone(),
            None => vec![0.0; self.weights.len()],
        };
        if self.drift.is_some() {
            factor.solve_rows(&mut rows);
        }
        for chunk in every.chunks(CHUNK) {
            let weights = self.live_weights(chunk);
            scatter(&mut rows, every.len(), chunk, &weights, |sum, weight| sum + weight);
        }
        let mut matrix = factor.inverse_in_f32();
        matrix.scale(-1.0);
        Ok(Tableau { matrix, rows, inside: vec![true; every.len()] })
    }

    /// The most memory that [`Regression::everything`] takes on so many threads.
    pub(crate) fn everything_bytes(rows: usize, columns: usize, threads: usize) -> u64 {
        let chunk = rows * CHUNK.min(columns) * size_of::<f32>();
        let solving = Factor::solve_rows_bytes(columns, threads).max(chunk) as u64;
        let factoring = (Symmetric::cholesky_bytes(columns, threads) as u64)
            .max(solving)
            .max(Symmetric::bytes_in_f32(columns));
        let inverting = Factor::inverse_in_f32_bytes(columns, threads);
        let lists = columns * (size_of::<usize>() + 1) + rows * columns * size_of::<f32>();
        lists as u64 + inverting.max(Symmetric::bytes(columns) + factoring)
    }
}
