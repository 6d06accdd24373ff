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
