//! Which of several artifacts of a model is the best as a whole: one reading sweep decides.

use crate::calibration::{Calibration, Data, held_out};
use crate::evaluation::{begun, by_sequence, on_threads};
use crate::reading::{Batches, Judge, Reading, Sequence, planned};
use crate::variant::Variant;
use crate::{Cancel, Error, Events, Method, Plan};
use llmopt_checkpoint::Output as Staged;
use llmopt_eval::{Estimate, Pair, PairLoss, compare};
use llmopt_forward::Matrix;
use rayon::prelude::*;
use serde::Serialize;

/// What was decided, and by which numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    /// Windows that it was decided on. Nothing was fitted to them.
    pub windows: usize,
    /// The artifacts, the preferred one first where numbers are equal.
    pub candidates: Vec<Candidate>,
    /// The number of the one that was taken.
    #[serde(skip)]
    pub(crate) best: usize,
    /// Its method.
    pub chosen: Method,
}

/// An artifact among which one was chosen.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// The method that made it.
    pub method: Method,
    /// Mean KL divergence from the original model, in nats, with its 95 % interval.
    pub kld: Estimate,
}

/// Judges artifacts that lie in their staging folders, on the windows that none of them has seen.
///
/// # Errors
/// If one cannot be run.
pub(crate) fn decided(
    calibration: &Calibration,
    plans: &[&Plan],
    staged: &[Staged],
    data: &Data,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<Decision, Error> {
    let mut variants = vec![Variant::open(plans[0].source.path())?];
    for staged in staged {
        variants.push(Variant::open(staged.partial_path())?);
    }
    let first = data.windows.len() - held_out(data.windows.len());
    let sequences = data.windows[first..]
        .iter()
        .map(|tokens| Sequence { tokens: tokens.clone(), targets: 1..tokens.len() });
    let batches = Batches::new(sequences.collect(), false);
    let mut losses = Divergences::new(&batches, plans.len());
    let engine = &calibration.engine;
    let memory = planned(&variants, &batches, engine, losses.bytes(), calibration.resources)?;
    let scratch = calibration.scratch.as_path();
    let reading = Reading {
        variants: &variants,
        batches: &batches,
        engine,
        memory: &memory,
        scratch,
        events,
        cancel,
    };
    events.stage_started("decide", reading.bytes());
    on_threads(calibration.resources.threads, || reading.sweep(&mut losses))??;
    events.stage_finished("decide");
    let klds = losses.finished();
    let methods = plans.iter().map(|plan| plan.recipe.method);
    let candidates: Vec<Candidate> =
        methods.zip(klds).map(|(method, kld)| Candidate { method, kld }).collect();
    let best = least(&candidates);
    let chosen = candidates[best].method;
    Ok(Decision { windows: data.windows.len() - first, candidates, best, chosen })
}

/// The candidate that diverges least; of equal ones the first.
fn least(candidates: &[Candidate]) -> usize {
    let values = candidates.iter().map(|candidate| candidate.kld.value).enumerate();
    values.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(number, _)| number)
}

/// Divergences of several models from the first, token by token.
struct Divergences<'a> {
    batches: &'a Batches,
    /// By candidate, batch and position.
    sums: Vec<Vec<Vec<Pair>>>,
}

impl<'a> Divergences<'a> {
    fn new(batches: &'a Batches, candidates: usize) -> Self {
        let sums = (0..candidates).map(|_| begun(batches, Pair::new)).collect();
        Self { batches, sums }
    }

    /// Bytes that it holds to the end.
    fn bytes(&self) -> u64 {
        (self.sums.len() * self.batches.tokens() * (size_of::<Pair>() + size_of::<PairLoss>()))
            as u64
    }

    /// The mean divergence of each candidate.
    fn finished(self) -> Vec<Estimate> {
        let batches = self.batches;
        let losses = |sums| by_sequence(batches, sums, Pair::finish);
        self.sums.into_iter().map(|sums| compare(&losses(sums)).kld.mean).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_divergence_wins_and_the_first_of_equals() {
        let check = |values: &[f64], expected| {
            let candidate = |&value: &f64| Candidate {
                method: Method::Search,
                kld: Estimate { value, low: value, high: value },
            };
            let candidates: Vec<Candidate> = values.iter().map(candidate).collect();
            assert_eq!(least(&candidates), expected, "{values:?}");
        };
        check(&[0.3, 0.2, 0.25], 1);
        check(&[0.2, 0.2, 0.3], 0);
        check(&[0.2, f64::NAN], 0);
    }
}
