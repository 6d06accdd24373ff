//! Sequences packed into batches, without padding.

use llmopt_forward::Batch;
use std::ops::Range;

/// Token ids, and which of them are to be predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Numbers of tokens whose probability is asked for, given all before. The first cannot be.
    pub targets: Range<usize>,
}

/// A row of a batch whose logits are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The row.
    pub row: usize,
    /// The token that follows, if there is one.
    pub target: Option<u32>,
}

/// Sequences in order, some to a batch. How many does not depend on memory or threads, and so neither
/// do the numbers.
#[derive(Debug, PartialEq, Eq)]
pub struct Batches {
    sequences: Vec<Sequence>,
    /// The sequences of each batch.
    members: Vec<Range<usize>>,
    /// Whether logits of every row are asked for, not only those that predict.
    every_row: bool,
    /// The first batch of sequences that are held out.
    held_out: usize,
}

impl Batches {
    /// Packs sequences, none of them empty.
    pub fn new(sequences: Vec<Sequence>, every_row: bool) -> Self {
        let members = packed(&sequences, 0);
        Self { sequences, held_out: members.len(), members, every_row }
    }

    /// Packs sequences of which the last ones, `held_out` of them, are in batches of their own.
    pub fn with_held_out(sequences: Vec<Sequence>, held_out: usize) -> Self {
        let first = sequences.len() - held_out.min(sequences.len());
        let mut members = packed(&sequences[..first], 0);
        let held_out = members.len();
        members.extend(packed(&sequences[first..], first));
        Self { sequences, members, every_row: false, held_out }
    }

    /// Whether a batch is held out.
    pub fn is_held_out(&self, batch: usize) -> bool {
        batch >= self.held_out
    }

    /// How many batches.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// All sequences.
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// Tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.sequences.iter().map(|sequence| sequence.tokens.len()).sum()
    }

    /// Tokens of one batch.
    pub fn tokens_of(&self, batch: usize) -> impl Iterator<Item = u32> {
        self.sequences_of(batch).flat_map(|sequence| sequence.tokens.iter().copied())
    }

    /// The numbers of the sequences of one batch.
    pub fn members_of(&self, batch: usize) -> Range<usize> {
        self.members[batch].clone()
    }

    /// Rows of one batch.
    pub fn rows_of(&self, batch: usize) -> usize {
        self.sequences_of(batch).map(|sequence| sequence.tokens.len()).sum()
    }

    /// The largest batch.
    pub fn largest(&self) -> usize {
        (0..self.len()).max_by_key(|&batch| self.rows_of(batch)).unwrap_or(0)
    }

    /// A batch as the engine wants it.
    pub fn shape_of(&self, batch: usize) -> Batch {
        Batch::of_lengths(self.sequences_of(batch).map(|sequence| sequence.tokens.len()))
    }

    /// The rows of a batch whose logits are asked for, sequence after sequence.
    pub fn positions_of(&self, batch: usize) -> Vec<Position> {
        let mut positions = Vec::new();
        let mut first = 0;
        for sequence in self.sequences_of(batch) {
            let Sequence { tokens, targets } = sequence;
            for offset in 0..tokens.len() {
                let next = offset + 1;
                let target = targets.contains(&next).then(|| tokens[next]);
                if target.is_some() || self.every_row {
                    positions.push(Position { row: first + offset, target });
                }
            }
            first += tokens.len();
        }
        positions
    }

    fn sequences_of(&self, batch: usize) -> impl Iterator<Item = &Sequence> {
        self.sequences[self.members[batch].clone()].iter()
    }
}

/// Windows with every token but the first to be predicted.
pub fn judging(windows: &[Vec<u32>]) -> Batches {
    let sequence =
        |tokens: &Vec<u32>| Sequence { tokens: tokens.clone(), targets: 1..tokens.len() };
    Batches::new(windows.iter().map(sequence).collect(), false)
}

/// Ranges of sequences that fit a batch, counted from `first` on.
fn packed(sequences: &[Sequence], first: usize) -> Vec<Range<usize>> {
    let mut members: Vec<Range<usize>> = Vec::new();
    let mut tokens = 0;
    for (number, sequence) in (first..).zip(sequences) {
        let length = sequence.tokens.len();
        match members.last_mut() {
            Some(last) if tokens + length <= BATCH_TOKENS => last.end = number + 1,
            _ => {
                members.push(number..number + 1);
                tokens = 0;
            }
        }
        tokens += length;
    }
    members
}

/// Tokens of a batch, unless a single sequence is longer.
const BATCH_TOKENS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(length: usize, targets: Range<usize>) -> Sequence {
        Sequence { tokens: (0..length as u32).collect(), targets }
    }

    #[test]
    fn sequences_fill_batches_in_order() {
        let lengths = [4000, 90, 7, 5000, 1, 4095];
        let sequences = lengths.map(|length| sequence(length, 1..length)).to_vec();
        let batches = Batches::new(sequences, false);
        let rows: Vec<usize> = (0..batches.len()).map(|batch| batches.rows_of(batch)).collect();
        assert_eq!(rows, [4090, 7, 5000, 4096]);
        assert_eq!(batches.largest(), 2);
        assert_eq!(batches.tokens(), 4000 + 90 + 7 + 5000 + 1 + 4095);
    }

    #[test]
    fn what_is_held_out_begins_a_batch() {
        let sequences = [100, 200, 300].map(|length| sequence(length, 0..0)).to_vec();
        let rows = |batches: &Batches| -> Vec<(usize, bool)> {
            (0..batches.len()).map(|b| (batches.rows_of(b), batches.is_held_out(b))).collect()
        };
        let held_out = |count| rows(&Batches::with_held_out(sequences.clone(), count));
        assert_eq!(held_out(1), [(300, false), (300, true)]);
        assert_eq!(held_out(0), [(600, false)]);
        assert_eq!(held_out(3), [(600, true)]);
    }

    #[test]
    fn a_target_is_predicted_from_the_row_before() {
        let sequences = vec![sequence(3, 1..3), sequence(4, 2..4)];
        let position = |row, target| Position { row, target };
        let found = Batches::new(sequences.clone(), false).positions_of(0);
        let expected =
            [(0, 1), (1, 2), (4, 2), (5, 3)].map(|(row, target)| position(row, Some(target)));
        assert_eq!(found, expected);
        let all = Batches::new(sequences, true).positions_of(0);
        assert_eq!(all.len(), 7);
        assert_eq!(all[2], position(2, None));
    }
}
