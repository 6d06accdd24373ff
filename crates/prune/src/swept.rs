//! The tableau of a regression, from its sums.

use crate::gather::scatter;
use crate::regression::{CHUNK, Regression};
use crate::tableau::Tableau;
use llmopt_linalg::{Factor, Gemm, NotPositiveDefinite, Real, Symmetric};

impl Regression<'_> {
    /// The tableau with all features inside, in f32 from a factor in f64.
    ///
    /// Allocates the result and [`Regression::everything_bytes`].
    pub(crate) fn everything(&self) -> Result<Tableau<f32>, NotPositiveDefinite> {
        let every: Vec<usize> = (0..self.columns()).collect();
        let mut matrix = self.gram.damped(&every, self.damping).cholesky()?.inverse_in_f32();
        let mut rows = vec![0.0; self.weights.len()];
        if let Some(drift) = &self.drift {
            matrix.times(self.gemm, drift, &mut rows);
        }
        self.add_weights(&mut rows, &every);
        matrix.scale(-1.0);
        Ok(Tableau { matrix, rows, inside: vec![true; every.len()] })
    }

    /// The most memory that a tableau with all features takes, itself included.
    pub(crate) fn everything_bytes(gemm: Gemm, rows: usize, columns: usize, threads: usize) -> u64 {
        let factoring = Symmetric::cholesky_bytes(columns, threads) as u64;
        let inverting = Factor::inverse_in_f32_bytes(columns, threads);
        let factored = Symmetric::bytes(columns) + factoring.max(Symmetric::bytes_in_f32(columns));
        let chunk = rows * CHUNK.min(columns) * size_of::<f32>();
        let multiplying = Symmetric::times_bytes(gemm, columns, threads).max(chunk) as u64;
        let solved = Tableau::bytes_in_f32(rows, columns) + multiplying;
        (columns * size_of::<usize>()) as u64 + factored.max(inverting).max(solved)
    }

    /// The tableau with these features inside, computed afresh.
    ///
    /// Their original weights solve their own part of the equations as they are, so that nothing is
    /// rounded where nothing has changed: what is swept is what is asked beyond.
    ///
    /// Allocates the result and [`Regression::swept_bytes`].
    pub(crate) fn swept(&self, inside: &[bool]) -> Result<Tableau, NotPositiveDefinite> {
        let every: Vec<usize> = (0..self.columns()).collect();
        let (kept, removed): (Vec<usize>, Vec<usize>) =
            every.iter().partition(|&&feature| inside[feature]);
        let asked = self.asked(&removed, &every);
        let mut tableau = Tableau::outside(self.gram.damped(&every, self.damping), asked);
        for chunk in kept.chunks(CHUNK) {
            tableau.exchange(chunk)?;
        }
        self.add_weights(&mut tableau.rows, &kept);
        Ok(tableau)
    }

    /// Adds the original weights of what is kept.
    fn add_weights<T: Real>(&self, rows: &mut [T], kept: &[usize]) {
        for chunk in kept.chunks(CHUNK) {
            let weights = self.live_weights(chunk);
            scatter(rows, self.columns(), chunk, &weights, |sum, weight| sum + weight);
        }
    }

    /// The most memory that making a tableau takes beside it.
    pub(crate) fn swept_bytes(rows: usize, columns: usize, threads: usize) -> u64 {
        let chunk = CHUNK.min(columns);
        let exchanging = Tableau::exchange_bytes(rows, columns, chunk, threads);
        let lists = 3 * columns * size_of::<usize>();
        lists as u64 + exchanging.max(Self::asked_bytes(rows, columns, threads))
    }
}
