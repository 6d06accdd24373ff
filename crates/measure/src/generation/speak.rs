//! Sequences that speak side by side until each has ended.

use crate::generation::generator::Generator;
use crate::generation::loaded::{Loaded, cache_bytes, fixed_bytes};
use crate::generation::prompt::Prompt;
use crate::generation::schedule::{Job, Limits, Schedule};
use crate::generation::sequence::{Sequence, Spoken};
use llmopt_data::Folder;
use llmopt_forward::{Engine, State};
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error, Resources};
use std::collections::BTreeMap;

/// How many sequences go through the model together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Sequences at a time, at most.
    pub slots: usize,
    /// Rows of a step, about: each sequence that speaks has one, and prompts are read in the rest, a row
    /// at least.
    pub chunk: usize,
}

impl Default for Batching {
    /// As many rows as one pass over the weights is for.
    fn default() -> Self {
        Self { slots: 8, chunk: 256 }
    }
}

/// Prompts with their numbers, and what is set aside for each beside its keys and values.
pub(super) type Numbered = Vec<(usize, u64, Prompt)>;

/// Prompts that will be heard, and those for which there will never be room, with the bytes that are
/// missing.
pub(super) struct Admission {
    schedule: Schedule,
    sequences: BTreeMap<usize, Sequence>,
    /// The numbers of the others, with the smallest bound on memory that works.
    pub(super) too_large: Vec<(usize, u64)>,
}

impl Admission {
    /// Sets limits such that the model, a step, what is `held` beside them, and the sequences admitted
    /// stay within memory.
    ///
    /// # Errors
    /// [`Error::Budget`] if the model and one sequence do not fit.
    pub(super) fn new(
        variant: &Variant,
        engine: &Engine,
        prompts: Numbered,
        batching: Batching,
        held: u64,
        resources: Resources,
    ) -> Result<Self, Error> {
        let fixed = held + step_bytes(variant, engine, &prompts, batching, resources.threads)?;
        let program = variant.program();
        let job = |(id, answer, prompt): &(usize, u64, Prompt)| Job {
            id: *id,
            tokens: prompt.tokens.len(),
            cache: cache_bytes(program, prompt.longest()),
            answer: *answer,
        };
        let smallest = prompts.iter().map(job).map(|job| fixed + job.cache + job.answer).min();
        let smallest = smallest.unwrap_or(0);
        if smallest > resources.memory {
            return Err(Error::Budget { given: resources.memory, smallest });
        }
        let alike = State::rotated_alike(program);
        let mut schedule = Schedule::new(Limits {
            slots: batching.slots,
            rows: batching.chunk,
            bytes: resources.memory.saturating_sub(fixed),
            alike,
            outgrows: alike.is_some_and(|alike| State::outgrown(program, alike, alike + 1)),
        });
        let (mut sequences, mut too_large) = (BTreeMap::new(), Vec::new());
        for numbered in prompts {
            let job = job(&numbered);
            match schedule.add(job) {
                true => drop(sequences.insert(job.id, Sequence::new(numbered.2))),
                false => too_large.push((job.id, fixed + job.cache + job.answer)),
            }
        }
        Ok(Self { schedule, sequences, too_large })
    }

    /// Whether nobody speaks.
    pub(super) fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Lets all speak. `done` takes what each has said, and returns how many of the bytes set aside for
    /// that are free.
    ///
    /// # Errors
    /// [`Error::Interrupted`], what stops the model, or what `done` fails with.
    pub(super) fn speak(
        mut self,
        loaded: &Loaded<'_>,
        folder: &Folder,
        cancel: &Cancel,
        mut done: impl FnMut(usize, Spoken) -> Result<u64, Error>,
    ) -> Result<(), Error> {
        let mut generator = Generator::new(loaded);
        while let Some(parts) = self.schedule.step() {
            if cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            let sequences = &self.sequences;
            let tokens = parts
                .iter()
                .filter_map(|part| Some(sequences.get(&part.id)?.tokens(part.tokens.clone())));
            let logits = generator.logits(&parts, tokens.flatten().collect())?;
            let caught_up = parts.iter().filter(|part| part.catches_up);
            for (row, part) in caught_up.enumerate() {
                let Some(sequence) = self.sequences.get_mut(&part.id) else { continue };
                if sequence.say(logits.row(row), folder)? {
                    self.schedule.goes_on(part.id);
                    continue;
                }
                self.schedule.ended(part.id).into_iter().for_each(|place| generator.remove(place));
                if let Some(sequence) = self.sequences.remove(&part.id) {
                    self.schedule.written(done(part.id, sequence.spoken(folder)?)?);
                }
            }
            loaded.engine.recycle(logits);
        }
        Ok(())
    }
}

/// Memory for all but sequences: the largest step has a row of each sequence, and a piece of a prompt,
/// or one that must be read whole.
fn step_bytes(
    variant: &Variant,
    engine: &Engine,
    prompts: &Numbered,
    batching: Batching,
    threads: usize,
) -> Result<u64, Error> {
    let slots = batching.slots.min(prompts.len()).max(1);
    let all: usize = prompts.iter().map(|(.., prompt)| prompt.tokens.len()).sum();
    let alike = State::rotated_alike(variant.program());
    let is_whole = |longest: &usize| alike.is_some_and(|alike| *longest > alike);
    let whole = prompts.iter().map(|(.., prompt)| prompt.longest()).filter(is_whole).max();
    let rows = batching.chunk.min(all).max(slots) + whole.unwrap_or(0);
    fixed_bytes(variant, engine, rows, slots, threads)
}
