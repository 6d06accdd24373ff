//! Proposals of a model, which keeps keys and values of its own.

use crate::generation::generator::Generator;
use crate::generation::loaded::Loaded;
use crate::generation::schedule::Part;
use crate::generation::sequence::Sequence;
use llmopt_run::Error;
use std::collections::BTreeMap;
use std::ops::Range;

/// Tokens that it may be behind.
pub(super) const LAG: usize = 64;

/// A model that says what another one will.
pub(in crate::generation) struct ModelDraft<'a> {
    generator: Generator<'a>,
    /// Tokens of each sequence that it has computed, by place.
    computed: Vec<usize>,
}

impl<'a> ModelDraft<'a> {
    pub(super) fn new(loaded: &'a Loaded<'a>) -> Self {
        Self { generator: Generator::new(loaded), computed: Vec::new() }
    }

    /// So many tokens as are `wanted` for each part. It reads pieces of prompts as the model does; what is said
    /// while nothing is wanted of it, it reads later, [`LAG`] tokens at once.
    pub(super) fn proposed(
        &mut self,
        parts: &[Part],
        sequences: &BTreeMap<usize, Sequence>,
        wanted: &[usize],
    ) -> Result<Vec<Vec<u32>>, Error> {
        self.computed.resize(parts.len(), 0);
        let mut proposed: Vec<Vec<u32>> = vec![Vec::new(); parts.len()];
        let ends: Vec<usize> = parts.iter().map(|part| part.tokens.end).collect();
        let most = wanted.iter().copied().max().unwrap_or(0);
        for step in 0..most.max(1) {
            let part = |place: usize| {
                let start = self.computed[place];
                let is_prompt = !parts[place].speaks();
                let must_read = is_prompt || ends[place].saturating_sub(start) > LAG;
                let goes_on = wanted[place] > step || (step == 0 && must_read);
                let end = if goes_on { ends[place] + step } else { start };
                Part {
                    id: parts[place].id,
                    tokens: start..end.max(start),
                    catches_up: wanted[place] > step,
                    again: false,
                    drafted: 0,
                }
            };
            let parts: Vec<Part> = (0..parts.len()).map(part).collect();
            self.step(&parts, sequences, &mut proposed)?;
        }
        Ok(proposed)
    }

    fn step(
        &mut self,
        parts: &[Part],
        sequences: &BTreeMap<usize, Sequence>,
        proposed: &mut [Vec<u32>],
    ) -> Result<(), Error> {
        let mut tokens = Vec::new();
        for (part, proposed) in parts.iter().zip(proposed.iter()) {
            if let Some(sequence) = sequences.get(&part.id) {
                tokens.extend(with(sequence, proposed, part.tokens.clone()));
            }
        }
        if tokens.is_empty() {
            return Ok(());
        }
        let logits = self.generator.logits(parts, tokens)?;
        let mut rows = 0..logits.rows();
        for (place, part) in parts.iter().enumerate() {
            self.computed[place] = part.tokens.end;
            if let (true, Some(sequence)) = (part.catches_up, sequences.get(&part.id)) {
                let row = rows.next().map(|row| logits.row(row)).unwrap_or_default();
                proposed[place].push(sequence.drawn(row, part.tokens.end));
            }
        }
        self.generator.recycle(logits);
        Ok(())
    }

    /// What was computed beyond so many tokens no longer holds.
    pub(super) fn truncate(&mut self, place: usize, computed: usize) {
        if let Some(known) = self.computed.get_mut(place).filter(|known| **known > computed) {
            *known = computed;
            self.generator.truncate(place, computed);
        }
    }

    pub(super) fn remove(&mut self, place: usize) {
        if place < self.computed.len() {
            self.computed.remove(place);
            self.generator.remove(place);
        }
    }
}

/// Some tokens of a sequence and of what is proposed behind it.
fn with<'s>(
    sequence: &'s Sequence,
    proposed: &'s [u32],
    range: Range<usize>,
) -> impl Iterator<Item = u32> + 's {
    let known = sequence.length();
    let behind = range.start.max(known)..range.end.max(known);
    let before = range.start.min(known)..range.end.min(known);
    sequence
        .tokens(before)
        .chain(proposed[behind.start - known..behind.end - known].iter().copied())
}
