//! Sequences that speak side by side until each has ended.

use crate::generation::draft::{Draft, Drafter, MOST_PROPOSED, Pace, Timed, Totals};
use crate::generation::generator::Generator;
use crate::generation::loaded::{Loaded, cache_bytes, fixed_bytes};
use crate::generation::prompt::Prompt;
use crate::generation::schedule::{Job, Limits, Part, Schedule};
use crate::generation::sequence::{Sequence, Spoken};
use llmopt_data::Folder;
use llmopt_forward::{Engine, State};
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error, Resources};
use std::collections::BTreeMap;
use std::time::Instant;

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
        (batching, draft): (Batching, Option<&Draft>),
        held: u64,
        resources: Resources,
    ) -> Result<Self, Error> {
        let models = Models { variant, draft, engine };
        let fixed = held + models.step_bytes(&prompts, batching, resources.threads)?;
        let program = variant.program();
        let job = |(id, answer, prompt): &(usize, u64, Prompt)| Job {
            id: *id,
            tokens: prompt.tokens.len(),
            cache: models.cache_bytes(prompt.longest()),
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
        self,
        loaded: &Loaded<'_>,
        (drafter, pace): (Drafter<'_>, Pace),
        folder: &Folder,
        cancel: &Cancel,
        mut done: impl FnMut(usize, Spoken) -> Result<u64, Error>,
    ) -> Result<Totals, Error> {
        let Self { mut schedule, sequences, .. } = self;
        let generator = Generator::new(loaded);
        let mut speech = Speech { generator, drafter, sequences, pace, folder };
        while let Some(parts) = schedule.step() {
            if cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            for heard in speech.step(parts)? {
                if heard.goes_on {
                    schedule.goes_on(heard.id, heard.said);
                    continue;
                }
                schedule.ended(heard.id).into_iter().for_each(|place| speech.remove(place));
                if let Some(sequence) = speech.sequences.remove(&heard.id) {
                    schedule.written(done(heard.id, sequence.spoken(folder)?)?);
                }
            }
        }
        Ok(speech.pace.totals)
    }
}

/// Sequences that speak, and what is kept of them.
struct Speech<'a> {
    generator: Generator<'a>,
    drafter: Drafter<'a>,
    sequences: BTreeMap<usize, Sequence>,
    pace: Pace,
    folder: &'a Folder,
}

/// What was heard of a sequence in a step.
struct Heard {
    id: usize,
    /// Tokens.
    said: usize,
    goes_on: bool,
}

impl Speech<'_> {
    /// Proposes, computes, and says what follows.
    fn step(&mut self, mut parts: Vec<Part>) -> Result<Vec<Heard>, Error> {
        let all_speak = parts.iter().all(Part::speaks);
        let begun = Instant::now();
        let proposed = self.drafter.proposed(&parts, &self.sequences, self.pace.length())?;
        let drafting = begun.elapsed().as_secs_f64();
        let mut tokens = Vec::new();
        for (part, proposed) in parts.iter_mut().zip(&proposed) {
            let sequence = self.sequences.get(&part.id);
            tokens.extend(sequence.iter().flat_map(|known| known.tokens(part.tokens.clone())));
            tokens.extend(proposed);
            part.tokens.end += proposed.len();
            part.drafted = proposed.len();
        }
        let begun = Instant::now();
        let logits = self.generator.logits(&parts, tokens)?;
        if all_speak {
            let length = proposed.iter().map(Vec::len).max().unwrap_or(0);
            let checking = begun.elapsed().as_secs_f64();
            self.pace.timed(Timed { length, drafting, checking });
        }
        let mut heard = Vec::new();
        let mut row = 0;
        for (place, (part, proposed)) in parts.iter().zip(&proposed).enumerate() {
            if part.catches_up {
                heard.push(self.said(part.id, proposed, |after| logits.row(row + after))?);
                row += part.drafted + 1;
                self.forget(place, part, heard.last());
            }
        }
        self.generator.recycle(logits);
        Ok(heard)
    }

    /// Says tokens as long as they are those that were proposed, and one more.
    fn said<'l>(
        &mut self,
        id: usize,
        proposed: &[u32],
        logits: impl Fn(usize) -> &'l [f32],
    ) -> Result<Heard, Error> {
        let mut heard = Heard { id, said: 0, goes_on: false };
        let Some(sequence) = self.sequences.get_mut(&id) else { return Ok(heard) };
        let mut accepted = 0;
        loop {
            heard.goes_on = sequence.say(logits(heard.said), self.folder)?;
            heard.said += 1;
            if !heard.goes_on || sequence.last() != proposed.get(accepted).copied() {
                break;
            }
            accepted += 1;
        }
        self.pace.checked(proposed.len(), accepted);
        Ok(heard)
    }

    /// What was computed of proposals that were not said no longer holds.
    fn forget(&mut self, place: usize, part: &Part, heard: Option<&Heard>) {
        let said = heard.map_or(0, |heard| heard.said);
        let computed = part.tokens.end - part.drafted + said.saturating_sub(1);
        if computed < part.tokens.end {
            self.generator.truncate(place, computed);
        }
        self.drafter.truncate(place, computed);
    }

    fn remove(&mut self, place: usize) {
        self.generator.remove(place);
        self.drafter.remove(place);
    }
}

/// A model, and what proposes tokens to it.
struct Models<'a> {
    variant: &'a Variant,
    draft: Option<&'a Draft>,
    engine: &'a Engine,
}

impl Models<'_> {
    /// Memory for what is kept of a sequence of so many tokens.
    fn cache_bytes(&self, tokens: usize) -> u64 {
        let of_draft = self.draft.map_or(0, |draft| draft.cache_bytes(tokens));
        cache_bytes(self.variant.program(), tokens) + of_draft
    }

    /// Memory for all but sequences: the largest step has a row of each sequence, and a piece of a prompt,
    /// or one that must be read whole.
    fn step_bytes(
        &self,
        prompts: &Numbered,
        batching: Batching,
        threads: usize,
    ) -> Result<u64, Error> {
        let Self { variant, draft, engine } = *self;
        let slots = batching.slots.min(prompts.len()).max(1);
        let all: usize = prompts.iter().map(|(.., prompt)| prompt.tokens.len()).sum();
        let alike = State::rotated_alike(variant.program());
        let is_whole = |longest: &usize| alike.is_some_and(|alike| *longest > alike);
        let whole = prompts.iter().map(|(.., prompt)| prompt.longest()).filter(is_whole).max();
        let rows = batching.chunk.min(all).max(slots) + whole.unwrap_or(0);
        let Some(draft) = draft else {
            return fixed_bytes(variant, engine, rows, slots, threads);
        };
        let (rows, logits) = (rows + slots * MOST_PROPOSED, slots * (1 + MOST_PROPOSED));
        let of_model = fixed_bytes(variant, engine, rows, logits, threads)?;
        Ok(of_model + draft.fixed_bytes(engine, rows, slots, threads)?)
    }
}
