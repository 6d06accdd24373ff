//! Causal attention, a block of queries against a block of keys at a time.
//!
//! The softmax is that of Milakov and Gimelshein 2018 (section 3): maximum and sum of the keys seen so
//! far are corrected as further blocks come, so scores are never whole.

mod block;

use crate::batch::{Batch, Sequence};
use crate::buffers::Buffers;
use crate::matrix::Matrix;
use crate::pool::Pool;
use crate::state::Kept;
use block::{Block, Scratch};
use llmopt_arch::program::Attention;
use llmopt_linalg::Strided;
use rayon::prelude::*;
use std::ops::Range;

/// Attention of every sequence to itself, and to what is kept of it. `kept` already holds the keys
/// and values of this batch.
pub(crate) fn attend(
    buffers: &Buffers,
    attention: &Attention,
    batch: &Batch,
    [query, key, value]: [&Matrix; 3],
    kept: Option<&[Kept]>,
) -> Matrix {
    let mut output = buffers.matrix(query.rows(), query.columns());
    let pool: Pool<Scratch> = Pool::new();
    let tasks = tasks(attention, batch, output.values_mut());
    tasks.into_par_iter().with_max_len(1).for_each(|task| {
        let Task { number, sequence, rows, heads, output } = task;
        let first = rows.first_of_sequence;
        let past = |head: usize| match kept {
            Some(kept) => Past::kept(&kept[number], head, attention.head_width),
            None => {
                let rows = first..first + sequence.length;
                Past::of_batch([key, value], rows, head, attention.head_width)
            }
        };
        pool.with(|scratch| {
            let columns = heads.clone().count() * group(attention) * attention.head_width;
            for (place, head) in heads.enumerate() {
                let block = Block {
                    attention,
                    queries: query.rows_of(rows.of_batch.clone()),
                    first_position: sequence.start + rows.of_batch.start - first,
                    key_value_head: head,
                    past: past(head),
                };
                block.run(
                    scratch,
                    output,
                    columns,
                    place * group(attention) * attention.head_width,
                );
            }
        });
    });
    output
}

/// What [`attend`] allocates beside its output.
pub(crate) fn scratch_bytes(attention: &Attention, tokens: usize, threads: usize) -> usize {
    let tasks = tokens * attention.key_value_heads * size_of::<Task<'_>>();
    tasks + threads * Scratch::bytes(attention.head_width)
}

/// Query heads that read the same keys.
fn group(attention: &Attention) -> usize {
    attention.heads / attention.key_value_heads
}

/// Some rows of one sequence and some heads: what one thread does in one go.
struct Task<'a> {
    number: usize,
    sequence: Sequence,
    rows: TaskRows,
    /// Key and value heads.
    heads: Range<usize>,
    output: &'a mut [f32],
}

struct TaskRows {
    of_batch: Range<usize>,
    first_of_sequence: usize,
}

/// Blocks of [`QUERIES`] rows with all heads, whose output is in one piece. A single row is cut by
/// heads instead, so that a step of generation has more than one task for each sequence.
fn tasks<'a>(attention: &Attention, batch: &Batch, mut output: &'a mut [f32]) -> Vec<Task<'a>> {
    let columns = attention.heads * attention.head_width;
    let all = 0..attention.key_value_heads;
    let mut tasks = Vec::new();
    for (number, (sequence, rows)) in batch.rows().enumerate() {
        for start in rows.clone().step_by(QUERIES) {
            let of_batch = start..rows.end.min(start + QUERIES);
            let (block, rest) = output.split_at_mut(of_batch.len() * columns);
            output = rest;
            let (parts, step) = match of_batch.len() {
                1 => (block.chunks_mut(columns / all.len()), 1),
                _ => (block.chunks_mut(of_batch.len() * columns), all.len()),
            };
            for (part, output) in parts.enumerate() {
                let heads = part * step..(part + 1) * step;
                let rows = TaskRows { of_batch: of_batch.clone(), first_of_sequence: rows.start };
                tasks.push(Task { number, sequence, rows, heads, output });
            }
        }
    }
    tasks
}

/// Keys and values of one head of one sequence, from its first token.
#[derive(Clone, Copy)]
struct Past<'a> {
    keys: &'a [f32],
    values: &'a [f32],
    stride: usize,
    head_width: usize,
}

impl<'a> Past<'a> {
    fn kept(kept: &'a Kept, head: usize, head_width: usize) -> Self {
        let (keys, values) = (&kept.keys[head], &kept.values[head]);
        Self { keys, values, stride: head_width, head_width }
    }

    fn of_batch(
        [key, value]: [&'a Matrix; 2],
        rows: Range<usize>,
        head: usize,
        head_width: usize,
    ) -> Self {
        let from = head * head_width;
        let (keys, values) = (&key.rows_of(rows.clone())[from..], &value.rows_of(rows)[from..]);
        Self { keys, values, stride: key.columns(), head_width }
    }

    fn keys(&self, positions: Range<usize>) -> Strided<'a> {
        self.part(self.keys, positions)
    }

    fn values(&self, positions: Range<usize>) -> Strided<'a> {
        self.part(self.values, positions)
    }

    fn part(&self, of: &'a [f32], positions: Range<usize>) -> Strided<'a> {
        let values = &of[positions.start * self.stride..];
        Strided { values, rows: positions.len(), columns: self.head_width, stride: self.stride }
    }
}

/// Rows of a task.
const QUERIES: usize = 64;
