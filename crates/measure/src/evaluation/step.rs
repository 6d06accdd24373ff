//! What goes through the models at once: all there is or, where more windows may follow, the first of each
//! text, and then as many again.

use crate::evaluation::judge::Losses;
use crate::evaluation::request::EvaluationRequest;
use crate::evaluation::set::{Key, Set};
use llmopt_forward::Engine;
use llmopt_model::Variant;
use llmopt_run::{Error, Resources};
use llmopt_sweep::{Batches, ReadingMemory, alone_bytes, alone_tokens, planned};
use std::ops::Range;

/// One reading sweep.
pub(super) struct Step {
    /// What is measured on when it is done: just what an evaluation with so many samples is on.
    pub(super) set: Set,
    /// Which sequences it takes: those that no step before it has taken.
    pub(super) keys: Vec<Key>,
    /// These sequences.
    pub(super) batches: Batches,
    pub(super) memory: ReadingMemory,
    /// The first batch of an evaluation of the whole set at once: its sequences, and their tokens.
    pub(super) first_batch: Range<usize>,
    pub(super) first_tokens: usize,
}

/// With what the steps are carried out.
pub(super) struct Means<'a> {
    pub(super) request: &'a EvaluationRequest,
    pub(super) variants: &'a [Variant],
    pub(super) engine: &'a Engine,
    pub(super) resources: Resources,
}

impl Means<'_> {
    /// All steps that may be taken, in order; the first is always taken.
    ///
    /// # Errors
    /// If a file cannot be read, or one of the steps does not fit the memory.
    pub(super) fn steps(&self) -> Result<Vec<Step>, Error> {
        let (samples, most) = (self.request.samples, self.request.max_samples);
        let all = Set::read(self.request, most.or(samples), self.variants)?;
        let mut taken: Vec<Taken> = Vec::new();
        for samples in amounts(samples, most) {
            let set = all.first(samples);
            let before = taken.last().map(|before| &before.set);
            if before.is_some_and(|before| before.windows(None) == set.windows(None)) {
                break;
            }
            let next = self.taken(set, before);
            taken.push(next);
        }
        let memories: Vec<Result<ReadingMemory, Error>> =
            (0..taken.len()).map(|last| self.memory(&taken[last], &taken[..last])).collect();
        let memories = all_fitting(memories)?;
        let step = |(taken, memory): (Taken, ReadingMemory)| {
            let Taken { set, keys, batches, first_batch, first_tokens } = taken;
            Step { set, keys, batches, memory, first_batch, first_tokens }
        };
        Ok(taken.into_iter().zip(memories).map(step).collect())
    }

    fn taken(&self, set: Set, before: Option<&Set>) -> Taken {
        let every_row = self.request.logits.is_some();
        let all = set.sequences();
        let whole = Batches::new(all.iter().map(|(_, of)| of.clone()).collect(), every_row);
        let first_batch = if whole.is_empty() { 0..0 } else { whole.members_of(0) };
        let first_tokens = if whole.is_empty() { 0 } else { alone_tokens(&whole) };
        let (keys, new) = all.into_iter().filter(|(key, _)| is_new(*key, before)).unzip();
        let batches = Batches::new(new, every_row);
        Taken { set, keys, batches, first_batch, first_tokens }
    }

    /// What a sweep takes after others, of whose sequences the results are kept.
    fn memory(&self, taken: &Taken, before: &[Taken]) -> Result<ReadingMemory, Error> {
        let batches = &taken.batches;
        let (against, alone) = match self.variants {
            [_, artifact] => (true, alone_bytes(artifact, batches)),
            _ => (false, 0),
        };
        let layers = self.variants.iter().map(|of| of.program().blocks.len()).max().unwrap_or(0);
        let kept = |taken: &Taken| Losses::kept_bytes(&taken.batches, against, layers);
        let kept: u64 = before.iter().map(kept).sum();
        let judged = Losses::bytes(batches, against, layers) + alone + kept;
        let read: Vec<&Variant> = self.variants.iter().collect();
        planned(&read, batches, self.engine, judged, self.resources)
    }
}

/// A step before its memory is known.
struct Taken {
    set: Set,
    keys: Vec<Key>,
    batches: Batches,
    first_batch: Range<usize>,
    first_tokens: usize,
}

/// What each step takes, if all fit: otherwise the error says how much memory would do for all of them.
fn all_fitting(memories: Vec<Result<ReadingMemory, Error>>) -> Result<Vec<ReadingMemory>, Error> {
    let smallest = |memory: &Result<ReadingMemory, Error>| match memory {
        Ok(memory) => memory.smallest,
        Err(Error::Budget { smallest, .. }) => *smallest,
        Err(_) => 0,
    };
    let most = memories.iter().map(smallest).max().unwrap_or(0);
    memories.into_iter().collect::<Result<_, _>>().map_err(|error| match error {
        Error::Budget { given, .. } => Error::Budget { given, smallest: most },
        other => other,
    })
}

/// Whether a sequence has not gone through the models with the set that was `taken` before.
fn is_new((part, number): Key, taken: Option<&Set>) -> bool {
    let Some(taken) = taken else { return true };
    taken.texts.get(part).is_some_and(|text| number >= text.len())
}

/// Windows of each text, step after step: twice as many each time.
fn amounts(samples: Option<usize>, most: Option<usize>) -> Vec<Option<usize>> {
    let (Some(samples), Some(most)) = (samples, most) else { return vec![samples] };
    let twice = |&amount: &usize| Some(amount.saturating_mul(2).min(most)).filter(|n| *n > amount);
    std::iter::successors(Some(samples), twice).map(Some).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_double_up_to_the_most() {
        let check = |samples, most, expected: &[Option<usize>]| {
            assert_eq!(amounts(samples, most), expected, "{samples:?} {most:?}");
        };
        check(None, None, &[None]);
        check(Some(8), None, &[Some(8)]);
        check(Some(8), Some(8), &[Some(8)]);
        check(Some(8), Some(50), &[Some(8), Some(16), Some(32), Some(50)]);
    }
}
