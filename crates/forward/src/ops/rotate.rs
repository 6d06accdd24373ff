//! Rotary embedding.

use crate::batch::Batch;
use crate::ops::frequencies::Frequencies;
use llmopt_arch::program::Rope;
use llmopt_tensor::simd::{Kernel, dispatch};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;

/// Cosines and sines of every position that a batch has.
pub(crate) struct Tables {
    /// Pairs of columns.
    pairs: usize,
    /// Which turn is that of each row of the batch.
    turn_of_row: Vec<usize>,
    /// `[turns, 2, pairs]`: cosines, then sines.
    turns: Vec<f32>,
}

impl Tables {
    pub(crate) fn new(rope: &Rope, batch: &Batch) -> Self {
        // Sequences whose frequencies are the same share turns.
        let length = |end: usize| if Frequencies::vary(rope) { end } else { 0 };
        let places = batch.rows().flat_map(|(sequence, _)| {
            (sequence.start..sequence.end()).map(move |position| (length(sequence.end()), position))
        });
        let places: Vec<(usize, usize)> = places.collect();
        let mut distinct = places.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let frequencies: BTreeMap<usize, Frequencies> =
            distinct.iter().map(|&(length, _)| (length, Frequencies::new(rope, length))).collect();
        let pairs = rope.width / 2;
        let mut turns = vec![0.0; distinct.len() * 2 * pairs];
        if pairs > 0 {
            let rows = turns.par_chunks_exact_mut(2 * pairs).zip(&distinct);
            rows.for_each(|(turn, (length, position))| {
                fill(turn, &frequencies[length], *position);
            });
        }
        let found = |place| distinct.partition_point(|other| other < place);
        Self { pairs, turn_of_row: places.iter().map(found).collect(), turns }
    }

    /// Turns every head of `values`, which are these `rows` of the batch.
    pub(crate) fn rotate(&self, values: &mut [f32], head_width: usize, rows: Range<usize>) {
        if self.pairs > 0 && !rows.is_empty() {
            dispatch(Rotate { tables: self, values, head_width, rows });
        }
    }

    /// What [`Tables::new`] allocates for so many tokens.
    pub(crate) fn bytes(rope: &Rope, tokens: usize) -> usize {
        let (places, turn) = (3 * size_of::<(usize, usize)>(), rope.width * size_of::<f32>());
        let frequencies = if Frequencies::vary(rope) { 2 * turn } else { 0 };
        tokens * (places + turn + frequencies) + 2 * turn
    }
}

fn fill(turn: &mut [f32], frequencies: &Frequencies, position: usize) {
    let (cosines, sines) = turn.split_at_mut(frequencies.values.len());
    for ((cosine, sine), frequency) in cosines.iter_mut().zip(sines).zip(&frequencies.values) {
        let angle = position as f32 * frequency;
        *cosine = libm::cosf(angle) * frequencies.attention_factor;
        *sine = libm::sinf(angle) * frequencies.attention_factor;
    }
}

struct Rotate<'a> {
    tables: &'a Tables,
    values: &'a mut [f32],
    head_width: usize,
    rows: Range<usize>,
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let columns = self.values.len() / self.rows.len();
        let pairs = self.tables.pairs;
        let turns = &self.tables.turn_of_row[self.rows];
        for (row, turn) in self.values.chunks_exact_mut(columns).zip(turns) {
            let (cosines, sines) =
                self.tables.turns[turn * 2 * pairs..][..2 * pairs].split_at(pairs);
            for head in row.chunks_exact_mut(self.head_width) {
                let (first, second) = head[..2 * pairs].split_at_mut(pairs);
                let columns = first.iter_mut().zip(second).zip(cosines).zip(sines);
                for (((x, y), cosine), sine) in columns {
                    (*x, *y) = (*x * cosine - *y * sine, *y * cosine + *x * sine);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Sequence;
    use llmopt_arch::program::RopeScaling;

    /// From the definition: column `i` and column `i + width / 2` are a complex number times
    /// `e^(i angle)`.
    fn turned(rope: &Rope, head: &[f32], position: usize) -> Vec<f64> {
        let mut turned: Vec<f64> = head.iter().copied().map(f64::from).collect();
        let half = rope.width / 2;
        for i in 0..half {
            let angle = position as f64 * rope.theta.powf(-((2 * i) as f64) / rope.width as f64);
            let (x, y) = (turned[i], turned[i + half]);
            turned[i] = x * angle.cos() - y * angle.sin();
            turned[i + half] = x * angle.sin() + y * angle.cos();
        }
        turned
    }

    #[test]
    fn heads_turn_by_the_position_of_their_token() {
        let sequence = |start, length| Sequence { start, length };
        let batch =
            Batch::new(vec![sequence(0, 3), sequence(7, 1), sequence(2, 0), sequence(1, 2)]);
        let positions = [0, 1, 2, 7, 1, 2];
        for (width, head_width) in [(10, 10), (6, 10), (0, 4)] {
            let rope = Rope { theta: 100.0, width, scaling: RopeScaling::None };
            let values: Vec<f32> =
                (0..6 * 3 * head_width).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
            let tables = Tables::new(&rope, &batch);
            let mut found = values.clone();
            let columns = 3 * head_width;
            tables.rotate(&mut found[..4 * columns], head_width, 0..4);
            tables.rotate(&mut found[4 * columns..], head_width, 4..6);
            for (row, position) in positions.into_iter().enumerate() {
                let heads = row * columns..(row + 1) * columns;
                let found = found[heads.clone()].chunks_exact(head_width);
                for (found, head) in found.zip(values[heads].chunks_exact(head_width)) {
                    let expected = turned(&rope, head, position);
                    let close = |(x, y): (&f32, f64)| (f64::from(*x) - y).abs() < 1e-6;
                    assert!(found.iter().zip(expected).all(close), "row {row}");
                }
            }
        }
    }

    #[test]
    fn tables_take_no_more_than_their_bound() {
        for scaling in [RopeScaling::None, RopeScaling::Dynamic { factor: 2.0, original: 1 }] {
            let rope = Rope { theta: 100.0, width: 8, scaling };
            for lengths in [vec![1; 9], vec![100, 3], vec![]] {
                let batch = Batch::of_lengths(lengths);
                let tables = Tables::new(&rope, &batch);
                let found = size_of_val(&*tables.turns) + size_of_val(&*tables.turn_of_row);
                assert!(found <= Tables::bytes(&rope, batch.tokens()));
            }
        }
    }

    #[test]
    fn a_sequence_turns_alike_beside_a_longer_one() {
        let scaling = RopeScaling::Dynamic { factor: 2.0, original: 4 };
        let rope = Rope { theta: 100.0, width: 8, scaling };
        let rotated = |lengths: &[usize]| {
            let tables = Tables::new(&rope, &Batch::of_lengths(lengths.iter().copied()));
            let mut values = vec![1.0; 3 * 8];
            tables.rotate(&mut values, 8, 0..3);
            values
        };
        assert_eq!(rotated(&[3]), rotated(&[3, 9]));
        assert_ne!(rotated(&[3]), rotated(&[9]));
    }
}
