//! Which units to keep.

use crate::elimination::BackwardElimination;
use crate::regression::{Regression, RegressionError};
use crate::tableau::Tableau;
use llmopt_linalg::NotPositiveDefinite;

/// How units are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// The share of the units left that is removed in a step, at least one unit. Steps cost the same
    /// in all; fewer have less overhead, more are greedier.
    pub step: f64,
    /// Rounds of swaps at most.
    pub rounds: usize,
}

impl Default for Search {
    fn default() -> Self {
        Self { step: 0.01, rounds: 20 }
    }
}

/// The units kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// In ascending order.
    pub kept: Vec<usize>,
    /// By how much the damped sum of squared errors, [`Regression`], rises above that of all units
    /// refitted, in the unit of the moments and to some digits; the kept ones are refitted.
    pub loss: f64,
    /// The loss after each step of removal, the first before any.
    pub curve: Vec<Step>,
    /// Units that were swapped afterwards.
    pub swaps: usize,
}

/// A point of the curve of loss over units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Units left.
    pub kept: usize,
    /// As [`Selection::loss`].
    pub loss: f64,
}

impl Regression<'_> {
    /// Chooses units of `width` neighbouring columns to keep: an optimal brain surgeon removes the
    /// cheapest, refitting the others at each step (ZipLM, 2302.04089, section 3.1, in batches), then
    /// removed and kept ones are swapped while the loss falls (OSSCAR, 2403.12983).
    ///
    /// Allocates [`Regression::select_bytes`].
    ///
    /// # Errors
    /// [`RegressionError::NotPositiveDefinite`] if no damping is enough.
    ///
    /// # Panics
    /// If the columns are not whole units, or fewer than `keep`.
    pub fn select(
        &mut self,
        width: usize,
        keep: usize,
        search: &Search,
    ) -> Result<Selection, RegressionError> {
        assert!(width > 0 && self.columns().is_multiple_of(width), "whole units");
        let units = self.columns() / width;
        assert!(keep <= units);
        self.steadied(|regression| regression.selected(width, keep, search))
    }

    fn selected(
        &self,
        width: usize,
        keep: usize,
        search: &Search,
    ) -> Result<Selection, NotPositiveDefinite> {
        let units = self.columns() / width;
        let mut elimination = BackwardElimination::new(self, width)?;
        let mut curve = vec![Step { kept: units, loss: 0.0 }];
        for step in steps(units, keep, search.step) {
            let cheapest = elimination.cheapest(step.len())?;
            elimination.remove(&cheapest)?;
            curve.push(Step { kept: step.start, loss: elimination.loss / self.damping.unit });
        }
        let swaps = elimination.swap(search)?;
        let loss = elimination.loss / self.damping.unit;
        Ok(Selection { kept: elimination.units(true), loss, curve, swaps })
    }

    /// The most memory that [`Regression::select`] takes on so many threads.
    pub fn select_bytes(
        rows: usize,
        columns: usize,
        width: usize,
        search: &Search,
        threads: usize,
    ) -> u64 {
        let units = columns / width;
        let step = batch(units, search.step);
        let candidates = if step > 1 { units.min(2 * step) * width } else { 0 };
        let exchanging = Tableau::exchange_bytes(rows, columns, step * width, threads);
        let choosing = Tableau::bytes(rows, candidates)
            + Tableau::exchange_bytes(rows, candidates, width, threads);
        let pricing = Tableau::prices_bytes(rows, columns, width, threads);
        let computing = Self::swept_bytes(rows, columns, threads);
        let lists = 4 * columns * size_of::<usize>() + (units + 1) * 2 * size_of::<Step>();
        let chosen = Tableau::bytes(rows, columns) + exchanging.max(choosing + pricing);
        lists as u64 + computing.max(chosen)
    }
}

/// Units that a step removes of so many.
pub(crate) fn batch(units: usize, share: f64) -> usize {
    ((units as f64 * share) as usize).clamp(1, units.max(1))
}

/// The units left after a step, to those before.
fn steps(units: usize, keep: usize, share: f64) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut left = units;
    std::iter::from_fn(move || {
        let before = left;
        left -= batch(left, share).min(left - keep);
        (left < before).then_some(left..before)
    })
}
