//! Runs: a prompt, then token after token.

use crate::bench::clock::{Moment, Passed};
use crate::bench::plan::Plan;
use crate::generation::{Generator, Loaded, Part, WeightBytes, most_likely};
use llmopt_run::{Cancel, Error, Events};
use std::time::Instant;

/// All that was measured while models were in memory.
pub(super) struct Measured {
    /// Of each model.
    pub(super) weights: Vec<WeightBytes>,
    /// Of each batch.
    pub(super) runs: Vec<BatchRuns>,
    /// Before all of them.
    pub(super) load_average: Option<[f64; 3]>,
    pub(super) peak_memory: Option<u64>,
}

/// The runs of a batch, of each model.
pub(super) struct BatchRuns {
    pub(super) batch: usize,
    pub(super) models: Vec<Vec<Run>>,
}

/// What one run of a batch took.
pub(super) struct Run {
    /// From the empty state to the first token of every sequence.
    pub(super) prompt: Passed,
    /// All steps that followed.
    pub(super) decode: Passed,
    /// Seconds of each of them: a token of every sequence.
    pub(super) steps: Vec<f64>,
}

impl Run {
    fn of(
        loaded: &Loaded<'_>,
        prompts: &[Vec<u32>],
        tokens: usize,
        cancel: &Cancel,
    ) -> Result<Self, Error> {
        let mut sequences = Sequences::new(loaded, prompts);
        let begun = Moment::now();
        sequences.step()?;
        let prompt = begun.passed();
        let (begun, mut steps) = (Moment::now(), Vec::with_capacity(tokens));
        for _ in 0..tokens {
            if cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            let begun = Instant::now();
            sequences.step()?;
            steps.push(begun.elapsed().as_secs_f64());
        }
        Ok(Self { prompt, decode: begun.passed(), steps })
    }
}

/// Sequences that go through a model together, all by as many tokens.
struct Sequences<'a> {
    loaded: &'a Loaded<'a>,
    generator: Generator<'a>,
    /// All tokens of each.
    known: Vec<Vec<u32>>,
    /// Tokens of each that are computed.
    computed: usize,
}

impl<'a> Sequences<'a> {
    fn new(loaded: &'a Loaded<'a>, prompts: &[Vec<u32>]) -> Self {
        Self { loaded, generator: Generator::new(loaded), known: prompts.to_vec(), computed: 0 }
    }

    /// Computes what is known of each, and adds its likeliest token, whether that ends a text or not.
    fn step(&mut self) -> Result<(), Error> {
        let length = self.known.first().map_or(0, Vec::len);
        let again = self.loaded.outgrown(self.computed, length);
        let begin = if again { 0 } else { self.computed };
        let part = |id| Part { id, tokens: begin..length, catches_up: true, again, drafted: 0 };
        let parts: Vec<Part> = (0..self.known.len()).map(part).collect();
        let tokens = self.known.iter().flat_map(|known| &known[begin..]).copied().collect();
        let logits = self.generator.logits(&parts, tokens)?;
        for (row, known) in self.known.iter_mut().enumerate() {
            known.push(most_likely(logits.row(row)));
        }
        self.generator.recycle(logits);
        self.computed = length;
        Ok(())
    }
}

/// Every batch, one after the other.
pub(super) fn runs(
    plan: &Plan<'_>,
    loaded: &[Loaded<'_>],
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Vec<BatchRuns>, Error> {
    let tokens = plan.request.tokens;
    let counted: u64 = loaded.iter().map(|loaded| read(loaded, tokens)).sum();
    let warm_up: u64 = loaded.iter().map(|loaded| read(loaded, WARM_UP.min(tokens))).sum();
    let of_batch = counted * plan.request.runs as u64 + warm_up;
    events.stage_started("bench", of_batch * plan.batches.len() as u64);
    let runs = plan.batches.iter().map(|&batch| in_turn(plan, loaded, batch, events, cancel));
    let runs = runs.collect::<Result<_, _>>()?;
    events.stage_finished("bench");
    Ok(runs)
}

/// Models in turn, as often as asked for, after a short run of each that does not count.
fn in_turn(
    plan: &Plan<'_>,
    loaded: &[Loaded<'_>],
    batch: usize,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<BatchRuns, Error> {
    let mut models: Vec<Vec<Run>> = loaded.iter().map(|_| Vec::new()).collect();
    for number in 0..=plan.request.runs {
        let counts = number > 0;
        let tokens = if counts { plan.request.tokens } else { WARM_UP.min(plan.request.tokens) };
        for ((loaded, variant), runs) in loaded.iter().zip(&plan.variants).zip(&mut models) {
            let run = Run::of(loaded, &plan.prompts[..batch], tokens, cancel)?;
            runs.extend(counts.then_some(run));
            events.advanced(read(loaded, tokens), &format!("{}, batch {batch}", variant.name()));
        }
    }
    Ok(BatchRuns { batch, models })
}

/// Bytes of weights that are read for a prompt and so many tokens after its first.
fn read(loaded: &Loaded<'_>, tokens: usize) -> u64 {
    loaded.bytes().total() * (tokens as u64 + 1)
}

/// Tokens of a run that does not count.
const WARM_UP: usize = 4;
