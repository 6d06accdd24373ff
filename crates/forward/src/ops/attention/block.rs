//! One block of queries against all the keys that it sees.

use super::{Past, QUERIES, group};
use crate::pool::fit;
use llmopt_arch::program::Attention;
use llmopt_linalg::{Strided, StridedMut, product, product_transposed, vector};
use std::ops::Range;

/// Queries of the heads that read one key and value head.
pub(super) struct Block<'a> {
    pub(super) attention: &'a Attention,
    /// `[rows, heads * head_width]`.
    pub(super) queries: &'a [f32],
    /// Position of the first row in its sequence.
    pub(super) first_position: usize,
    pub(super) key_value_head: usize,
    pub(super) past: Past<'a>,
}

/// What one thread needs. A row is one query of one head.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[rows, head_width]`, scaled.
    queries: Vec<f32>,
    /// `[rows, keys of a block]`.
    scores: Vec<f32>,
    /// `[rows, head_width]`.
    sums: Vec<f32>,
    /// The largest score so far.
    most: Vec<f32>,
    /// The sum of `exp(score - most)` so far.
    totals: Vec<f32>,
}

impl Block<'_> {
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
        let Scratch { queries, scores, sums, most, totals } = scratch;
        let width = self.attention.head_width;
        self.scaled(queries, heads.clone());
        let rows = self.rows() * heads.len();
        refill(sums, rows * width, 0.0);
        refill(most, rows, f32::NEG_INFINITY);
        refill(totals, rows, 0.0);
        let seen = self.seen(0).start / ALIGNMENT * ALIGNMENT..self.seen(self.rows() - 1).end;
        let first_block = seen.start / KEYS * KEYS;
        for block in (first_block..seen.end).step_by(KEYS) {
            let keys = block.max(seen.start)..seen.end.min(block + KEYS);
            let columns = keys.len();
            fit(scores, rows * columns);
            let matrix = |values, columns| Strided { values, rows, columns, stride: columns };
            let out = StridedMut { values: scores, rows, columns, stride: columns };
            product_transposed(matrix(queries, width), self.past.keys(keys.clone()), out, false);
            for (row, scores) in scores.chunks_exact_mut(columns).enumerate() {
                let sums = &mut sums[row * width..][..width];
                self.weigh(row, keys.clone(), scores, sums, &mut most[row], &mut totals[row]);
            }
            let out = StridedMut { values: sums, rows, columns: width, stride: width };
            product(matrix(scores, columns), self.past.values(keys), out, true);
        }
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
    /// The most that it comes to hold.
    pub(super) fn bytes(head_width: usize) -> usize {
        QUERIES * HEADS * (2 * head_width + KEYS + 2) * size_of::<f32>()
    }
}

fn refill(values: &mut Vec<f32>, length: usize, value: f32) {
    fit(values, length);
    values.fill(value);
}

/// Query heads whose rows are multiplied together.
const HEADS: usize = 4;

/// Keys of a block. Blocks begin at multiples of it, wherever queries begin.
const KEYS: usize = 256;

/// The first key of a window is moved to a multiple of it, so that sums in lanes add the same terms
/// in the same lanes.
const ALIGNMENT: usize = 64;
