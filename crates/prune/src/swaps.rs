//! Removed units against kept ones.

use crate::elimination::BackwardElimination;
use crate::selection::{Search, batch};
use llmopt_linalg::NotPositiveDefinite;

impl BackwardElimination {
    /// Swaps removed units for kept ones while the loss falls. Several are swapped at a time at first,
    /// half as many where that does not help, and it ends where one does not. Returns how many were.
    pub(crate) fn swap(&mut self, search: &Search) -> Result<usize, NotPositiveDefinite> {
        let mut count = batch(self.units(true).len(), search.step);
        let mut swapped = 0;
        for _ in 0..search.rounds {
            match self.swap_some(count)? {
                0 if count == 1 => break,
                0 => count /= 2,
                some => swapped += some,
            }
        }
        Ok(swapped)
    }

    /// Takes in the units of greatest gain, and drops as many of the least cost. If the loss has not
    /// fallen they change places again.
    fn swap_some(&mut self, count: usize) -> Result<usize, NotPositiveDefinite> {
        let gains = self.tableau.gains(self.width);
        let count = count.min(self.units(true).len());
        let mut added: Vec<usize> = gains.iter().take(count).map(|gain| gain.unit).collect();
        if added.is_empty() {
            return Ok(0);
        }
        added.sort_unstable();
        let before = self.loss;
        self.add(&added)?;
        let mut dropped = self.cheapest(added.len())?;
        dropped.sort_unstable();
        self.remove(&dropped)?;
        if before - self.loss > LEAST * before {
            return Ok(dropped.iter().filter(|unit| added.binary_search(unit).is_err()).count());
        }
        if dropped != added {
            self.add(&dropped)?;
            self.remove(&added)?;
        }
        // The same units as before, and so the same loss.
        self.loss = before;
        Ok(0)
    }
}

/// What a swap must gain, relative to the loss: more than rounding leaves of the prices of what is swapped.
const LEAST: f64 = 1e-5;
