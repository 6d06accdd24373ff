//! Models composed of the original and of choices, run beside the original: single units, and whole allocations.

use crate::mixed::plan::{MixedPlan, SIDE_BY_SIDE};
use crate::mixed::table::Table;
use llmopt_eval::WindowKlds;
use llmopt_measure::judged_by_window;
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error, Events};
use llmopt_sweep::Run;

/// The artifacts of all choices, opened.
pub(super) struct Composer<'a> {
    pub(super) plan: &'a MixedPlan,
    pub(super) of_choices: Vec<Variant>,
    pub(super) shown: (&'a dyn Events, &'a Cancel),
}

impl Composer<'_> {
    /// The KL divergence that each unit causes alone, with the choice that it is probed with, in nats.
    pub(super) fn probes(&self, probed: &[usize]) -> Result<Vec<f64>, Error> {
        let original = self.plan.candidates.choices.len();
        let alone = |(unit, &choice): (usize, &usize)| {
            let mut taken = vec![original; probed.len()];
            taken[unit] = choice;
            taken
        };
        let alone: Vec<Vec<usize>> = probed.iter().enumerate().map(alone).collect();
        let found = self.swept("probe", &self.plan.probing, &alone)?;
        Ok(found.iter().map(|klds| klds.mean().value).collect())
    }

    /// The divergence of each of these allocations on the windows that judge.
    pub(super) fn judged(&self, taken: &[Vec<usize>]) -> Result<Vec<WindowKlds>, Error> {
        self.swept("search", &self.plan.judges.windows, taken)
    }

    /// Runs allocations beside the original, so many at a time as memory was planned for.
    fn swept(
        &self,
        stage: &'static str,
        windows: &[Vec<u32>],
        taken: &[Vec<usize>],
    ) -> Result<Vec<WindowKlds>, Error> {
        let MixedPlan { engine, resources, scratch, memory, variant, .. } = self.plan;
        let (events, cancel) = self.shown;
        let run = Run { engine, resources: *resources, scratch, events, cancel };
        let mut found = Vec::with_capacity(taken.len());
        for some in taken.chunks(SIDE_BY_SIDE) {
            let composed = some.iter().map(|taken| self.composed(taken));
            let variants: Vec<Variant> = [variant.clone()].into_iter().chain(composed).collect();
            found.extend(judged_by_window(stage, &variants, windows, memory, run)?);
        }
        Ok(found)
    }

    /// The original with every unit as an allocation has it.
    fn composed(&self, taken: &[usize]) -> Variant {
        let mut composed = self.plan.variant.clone();
        for (unit, &of) in self.plan.candidates.units.iter().zip(taken) {
            if let Some(donor) = self.of_choices.get(of) {
                composed = composed.with_weights_of(donor, unit.tensors.iter().cloned());
            }
        }
        composed
    }
}

/// The choice that each unit is probed with: `near`, or of those that it can have the next smaller one, or else the
/// smallest.
pub(super) fn probed_with(table: &Table, near: usize) -> Vec<usize> {
    let of = |known: &Vec<Option<crate::mixed::table::Known>>| {
        let there = |&choice: &usize| known[choice].is_some();
        let smaller = (0..=near).rev().find(there);
        smaller.or_else(|| (0..known.len()).find(there)).unwrap_or(near)
    };
    table.units.iter().map(of).collect()
}
