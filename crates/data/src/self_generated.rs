//! Windows drawn from the model itself, for who has no data.
//!
//! The first draft is random ids. Then, in each of [`SWEEPS`] reading sweeps, every token of every
//! window is drawn at once from what the model expects behind the tokens of the draft before; the
//! first of a window stays. A position has the same noise in every sweep, so that a token is drawn
//! again where what stands before it still means the same: sweeps without end would arrive at
//! ancestral sampling (Wiggers and Hoogeboom 2020), which needs one for each token of a window.

#[cfg(test)]
mod tests;

use crate::gumbel::GumbelMax;
use llmopt_forward::{Engine, Matrix};
use llmopt_model::Variant;
use llmopt_run::{Error, Resources, SplitMix64, on_threads};
use llmopt_sweep::Run;
use llmopt_sweep::{Batches, Judge, Position, Reading, ReadingMemory, Sequence, planned};
use rayon::prelude::*;
use std::slice::from_ref;

/// Which windows are to be drawn. They depend on nothing else but the model's logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfGenerated {
    /// How many.
    pub windows: usize,
    /// Tokens of a window.
    pub window: usize,
    /// The token that each window begins with; a random one, if there is none.
    pub first: Option<u32>,
    /// What decides the draws.
    pub seed: u64,
}

/// How often every token is drawn.
pub const SWEEPS: u64 = 4;

/// What logits are divided by. A text that a small model draws is less varied than one that people
/// wrote, and inputs that never vary look as if their errors did not matter.
const TEMPERATURE: f64 = 1.2;

impl SelfGenerated {
    /// What drawing takes.
    ///
    /// # Errors
    /// [`Error::Budget`] if the model does not fit, and a refusal if the windows alone do not.
    pub fn memory(
        &self,
        variant: &Variant,
        engine: &Engine,
        resources: Resources,
    ) -> Result<ReadingMemory, Error> {
        let bytes = self.bytes().filter(|&bytes| bytes <= resources.memory);
        let bytes = bytes.ok_or_else(|| self.too_many())?;
        let batches = self.batches(self.draft(variant.program().vocabulary));
        planned(&[variant], &batches, engine, bytes, resources)
    }

    /// Draws them.
    ///
    /// # Errors
    /// As [`SelfGenerated::memory`]; if the model cannot be read, or computes NaN or infinity.
    pub fn drawn(&self, variant: &Variant, run: Run<'_>) -> Result<Vec<Vec<u32>>, Error> {
        let memory = self.memory(variant, run.engine, run.resources)?;
        let mut windows = self.draft(variant.program().vocabulary);
        on_threads(run.resources.threads, || {
            for _ in 0..SWEEPS {
                windows = self.redrawn(std::mem::take(&mut windows), variant, run, &memory)?;
            }
            Ok(windows)
        })?
    }

    /// Random ids: every one of the vocabulary is as likely as any other.
    fn draft(&self, vocabulary: usize) -> Vec<Vec<u32>> {
        let random = SplitMix64::new(self.seed).forked(0);
        let id =
            |position: u64| ((u128::from(random.nth(position)) * vocabulary as u128) >> 64) as u32;
        let window = |number: usize| {
            let begin = (number * self.window) as u64;
            let mut ids: Vec<u32> = (begin..begin + self.window as u64).map(id).collect();
            if let (Some(first), Some(id)) = (self.first, ids.first_mut()) {
                *id = first;
            }
            ids
        };
        (0..self.windows).map(window).collect()
    }

    /// Every token but the first of each window, drawn behind those before it.
    fn redrawn(
        &self,
        windows: Vec<Vec<u32>>,
        variant: &Variant,
        run: Run<'_>,
        memory: &ReadingMemory,
    ) -> Result<Vec<Vec<u32>>, Error> {
        let firsts: Vec<u32> = windows.iter().map(|window| window[0]).collect();
        let batches = self.batches(windows);
        let reading = Reading { variants: from_ref(variant), batches: &batches, memory, run };
        run.events.stage_started(STAGE, reading.bytes());
        let mut draws = Draws::new(&batches, SplitMix64::new(self.seed).forked(1));
        reading.sweep(&mut draws)?;
        run.events.stage_finished(STAGE);
        let drawn = draws.best.chunks_exact(self.window - 1);
        let window = |(first, drawn): (u32, &[GumbelMax])| {
            std::iter::once(first).chain(drawn.iter().map(GumbelMax::token)).collect()
        };
        Ok(firsts.into_iter().zip(drawn).map(window).collect())
    }

    fn batches(&self, windows: Vec<Vec<u32>>) -> Batches {
        let sequence = |tokens: Vec<u32>| Sequence { targets: 1..tokens.len(), tokens };
        Batches::new(windows.into_iter().map(sequence).collect(), false)
    }

    /// Bytes beside the sequences themselves: the best token so far of every position, positions of a
    /// batch, and the windows of the next draft.
    fn bytes(&self) -> Option<u64> {
        let each = size_of::<GumbelMax>() + size_of::<Position>() + size_of::<u32>();
        let tokens = self.windows.checked_mul(self.window)?;
        Some(tokens.checked_mul(each)? as u64)
    }

    fn too_many(&self) -> Error {
        Error::RefusedWithHint {
            what: format!(
                "{} windows of {} tokens do not fit in memory",
                self.windows, self.window
            ),
            hint: "fewer `--samples` do".to_owned(),
        }
    }
}

/// Draws a token for every position that is shown.
struct Draws {
    random: SplitMix64,
    /// The best token so far of every position, batch after batch.
    best: Vec<GumbelMax>,
    /// Where each batch begins in them.
    begins: Vec<usize>,
}

impl Draws {
    fn new(batches: &Batches, random: SplitMix64) -> Self {
        let mut begins = vec![0];
        for batch in 0..batches.len() {
            begins.push(begins[batch] + batches.positions_of(batch).len());
        }
        Self { random, best: vec![GumbelMax::NONE; begins[batches.len()]], begins }
    }
}

impl Judge for Draws {
    fn after_layer(&mut self, _layer: usize, _hidden: &[&Matrix]) -> Result<(), Error> {
        Ok(())
    }

    fn logits(&mut self, batch: usize, first: usize, logits: &[&Matrix]) -> Result<(), Error> {
        let &[logits] = logits else { return Ok(()) };
        let (random, begin) = (self.random, self.begins[batch]);
        let best = &mut self.best[begin..self.begins[batch + 1]];
        best.par_iter_mut().enumerate().for_each(|(row, best)| {
            best.update(random.forked((begin + row) as u64), first, logits.row(row), TEMPERATURE);
        });
        Ok(())
    }
}

const STAGE: &str = "draw";
