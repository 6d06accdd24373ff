//! How far several models are from one, token by token.

use llmopt_eval::{Comparison, Pair, PairLoss, WindowKlds, compare};
use llmopt_forward::Matrix;
use llmopt_run::Error;
use llmopt_sweep::{Batches, Judge, begun, by_sequence};
use rayon::prelude::*;

/// Divergences of several models from the first, token by token.
pub struct Divergences<'a> {
    batches: &'a Batches,
    /// By candidate, batch and position.
    sums: Vec<Vec<Vec<Pair>>>,
}

impl<'a> Divergences<'a> {
    /// Of so many candidates, nothing seen yet.
    pub fn new(batches: &'a Batches, candidates: usize) -> Self {
        let sums = (0..candidates).map(|_| begun(batches, Pair::new)).collect();
        Self { batches, sums }
    }

    /// Bytes that it holds to the end.
    pub fn bytes(batches: &Batches, candidates: usize) -> u64 {
        (candidates * batches.tokens() * (size_of::<Pair>() + size_of::<PairLoss>())) as u64
    }

    /// What each candidate lost.
    pub fn finished(self) -> Vec<Comparison> {
        self.losses().map(|losses| compare(&losses)).collect()
    }

    /// The KL divergence of each candidate, window by window.
    pub fn by_window(self) -> Vec<WindowKlds> {
        self.losses().map(|losses| WindowKlds::new(&losses)).collect()
    }

    /// The losses of each candidate, window by window.
    fn losses(self) -> impl Iterator<Item = Vec<Vec<PairLoss>>> {
        let batches = self.batches;
        self.sums.into_iter().map(|sums| by_sequence(batches, sums, Pair::finish))
    }
}

impl Judge for Divergences<'_> {
    fn after_layer(&mut self, _: usize, _: &[&Matrix]) -> Result<(), Error> {
        Ok(())
    }

    fn logits(&mut self, batch: usize, first: usize, logits: &[&Matrix]) -> Result<(), Error> {
        let Some((reference, candidates)) = logits.split_first() else { return Ok(()) };
        for (sums, candidate) in self.sums.iter_mut().zip(candidates) {
            let sums = sums[batch].par_iter_mut().enumerate();
            sums.for_each(|(row, sum)| sum.update(first, reference.row(row), candidate.row(row)));
        }
        Ok(())
    }
}
