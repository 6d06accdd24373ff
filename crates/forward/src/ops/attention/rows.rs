//! Some queries against all the keys that they see.

use super::{QUERIES, group};
use crate::cache::{BLOCK, Block};
use crate::pool::fit;
use llmopt_arch::program::Attention;
use llmopt_linalg::{Gemm, vector};
use std::ops::Range;

/// Queries of the heads that read one key and value head.
pub(super) struct Rows<'a> {
    pub(super) gemm: Gemm,
    pub(super) attention: &'a Attention,
    /// `[rows, heads * head_width]`.
    pub(super) queries: &'a [f32],
    /// Position of the first row in its sequence.
    pub(super) first_position: usize,
    pub(super) key_value_head: usize,
    pub(super) blocks: &'a [Block],
}

/// What one thread needs. A row is one query of one head.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[rows, head_width]`, scaled.
    queries: Vec<f32>,
    /// `[rows, keys seen of a block]`, as they are multiplied.
    scores: Vec<f32>,
    /// `[rows, BLOCK]`: what each row takes of each value; zero of what it does not see.
    weights: Vec<f32>,
    /// `[rows, head_width]`: what the rows take of one block.
    taken: Vec<f32>,
    /// `[rows, head_width]`: of all blocks so far.
    sums: Vec<f32>,
    /// The largest score so far.
    most: Vec<f32>,
    /// The sum of `exp(score - most)` so far.
    totals: Vec<f32>,
}

impl Rows<'_> {
    /// Writes the outputs of these heads to `output`, which has rows of `columns`, from column
    /// `first_column` on.
    pub(super) fn run(
        &self,
        scratch: &mut Scratch,
        output: &mut [f32],
        columns: usize,
        first_column: usize,
    ) {
        let width = self.attention.head_width;
        let group = group(self.attention);
        for first in (0..group).step_by(HEADS) {
            let heads = first..group.min(first + HEADS);
            self.heads(scratch, heads.clone());
            for (place, head) in heads.enumerate() {
                let rows = self.rows();
                let sums = scratch.sums.chunks_exact(width).skip(place * rows);
                for (row, (sums, total)) in
                    sums.zip(&scratch.totals[place * rows..]).take(rows).enumerate()
                {
                    let out = &mut output[row * columns + first_column + head * width..][..width];
                    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum / total);
                }
            }
        }
    }

    fn rows(&self) -> usize {
        self.queries.len() / (self.attention.heads * self.attention.head_width)
    }

    /// Leaves sums and totals of these heads of the group in `scratch`, head after head.
    fn heads(&self, scratch: &mut Scratch, heads: Range<usize>) {
        let width = self.attention.head_width;
        self.scaled(&mut scratch.queries, heads.clone());
        let rows = self.rows() * heads.len();
        refill(&mut scratch.sums, rows * width, 0.0);
        refill(&mut scratch.most, rows, f32::NEG_INFINITY);
        refill(&mut scratch.totals, rows, 0.0);
        let seen = self.seen(0).start..self.seen(self.rows() - 1).end;
        for block in seen.start / BLOCK..seen.end.div_ceil(BLOCK) {
            self.block(scratch, rows, block, seen.end.min((block + 1) * BLOCK) - block * BLOCK);
        }
    }

    /// Adds what the rows take of the first `keys` tokens of a block.
    fn block(&self, scratch: &mut Scratch, rows: usize, block: usize, keys: usize) {
        let Scratch { queries, scores, weights, taken, sums, most, totals } = scratch;
        let width = self.attention.head_width;
        let Block { keys: of_keys, values } = &self.blocks[block];
        fit(scores, rows * keys);
        self.gemm.multiply(queries, of_keys, 0..keys, scores);
        refill(weights, rows * BLOCK, 0.0);
        let each = scores.chunks_exact(keys).zip(weights.chunks_exact_mut(BLOCK)).enumerate();
        for (row, (scores, weights)) in each {
            weights[..keys].copy_from_slice(scores);
            let sums = &mut sums[row * width..][..width];
            let first = block * BLOCK;
            self.weigh(row, first..first + keys, weights, sums, &mut most[row], &mut totals[row]);
        }
        fit(taken, rows * width);
        self.gemm.multiply(weights, values, 0..width, taken);
        sums.iter_mut().zip(taken).for_each(|(sum, taken)| *sum += *taken);
    }

    /// Copies the queries of these heads next to each other.
    fn scaled(&self, queries: &mut Vec<f32>, heads: Range<usize>) {
        let Attention { heads: all, head_width, scale, .. } = *self.attention;
        fit(queries, self.rows() * heads.len() * head_width);
        let mut scaled = queries.chunks_exact_mut(head_width);
        for head in heads {
            let first = (self.key_value_head * group(self.attention) + head) * head_width;
            for (row, out) in self.queries.chunks_exact(all * head_width).zip(&mut scaled) {
                out.iter_mut().zip(&row[first..]).for_each(|(out, x)| *out = x * scale);
            }
        }
    }

    /// Positions that a row sees.
    fn seen(&self, row: usize) -> Range<usize> {
        let end = self.first_position + row % self.rows() + 1;
        end - self.attention.window.map_or(end, |window| window.min(end))..end
    }

    /// Turns a row's scores of the positions `keys` into weights, and corrects what came before.
    fn weigh(
        &self,
        row: usize,
        keys: Range<usize>,
        scores: &mut [f32],
        sums: &mut [f32],
        most: &mut f32,
        total: &mut f32,
    ) {
        let seen = self.seen(row);
        let from = seen.start.clamp(keys.start, keys.end) - keys.start;
        let to = (seen.end.clamp(keys.start, keys.end) - keys.start).max(from);
        scores[..from].fill(0.0);
        scores[to..].fill(0.0);
        let scores = &mut scores[from..to];
        if scores.is_empty() {
            return;
        }
        if let Some(cap) = self.attention.cap {
            vector::tanh_cap(scores, cap);
        }
        let largest = vector::max(scores).max(*most);
        let before = vector::exp(*most - largest);
        *total = *total * before + vector::exp_of_differences(scores, largest);
        if before != 1.0 {
            sums.iter_mut().for_each(|sum| *sum *= before);
        }
        *most = largest;
    }
}

impl Scratch {
    /// The most that it comes to hold, and products with it.
    pub(super) fn bytes(gemm: Gemm, head_width: usize) -> usize {
        let rows = QUERIES * HEADS;
        let own = rows * (3 * head_width + 2 * BLOCK + 2) * size_of::<f32>();
        own + gemm.scratch_bytes(rows, head_width.max(BLOCK))
    }
}

fn refill(values: &mut Vec<f32>, length: usize, value: f32) {
    fit(values, length);
    values.fill(value);
}

/// Query heads whose rows are multiplied together.
const HEADS: usize = 4;
