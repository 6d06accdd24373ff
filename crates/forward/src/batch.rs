//! Which rows of a batch are which tokens.

use std::ops::Range;

/// Sequences laid end to end, without padding: the rows of every tap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    sequences: Vec<Sequence>,
}

/// A run of tokens that see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Tokens in this batch. None is allowed: a sequence that rests while others go on.
    pub length: usize,
    /// Position of the first of them: 0, or as many tokens as a [`State`](crate::State) holds.
    pub start: usize,
}

impl Batch {
    /// A batch of these sequences, in this order.
    pub fn new(sequences: Vec<Sequence>) -> Self {
        Self { sequences }
    }

    /// Whole sequences of these lengths.
    pub fn of_lengths(lengths: impl IntoIterator<Item = usize>) -> Self {
        let sequences = lengths.into_iter().map(|length| Sequence { length, start: 0 });
        Self::new(sequences.collect())
    }

    /// The sequences in order.
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// Rows of every tap.
    pub fn tokens(&self) -> usize {
        self.sequences.iter().map(|sequence| sequence.length).sum()
    }

    /// That a sequence does not begin with its first token, where one does not.
    pub(crate) fn begins_later(&self) -> Option<String> {
        let number = self.sequences.iter().position(|sequence| sequence.start != 0)?;
        let start = self.sequences[number].start;
        Some(format!("sequence {number} starts at token {start}, but no state holds those before"))
    }

    /// Each sequence with the rows in which its tokens lie.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Sequence, Range<usize>)> {
        self.sequences.iter().scan(0, |end, &sequence| {
            let first = *end;
            *end += sequence.length;
            Some((sequence, first..*end))
        })
    }
}

impl Sequence {
    /// Tokens up to and with the last of this batch.
    pub(crate) fn end(&self) -> usize {
        self.start + self.length
    }
}
