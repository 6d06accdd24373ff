//! Causal attention, a block of queries against a block of keys at a time.
//!
//! The softmax is that of Milakov and Gimelshein 2018 (section 3): maximum and sum of the keys seen so
//! far are corrected as further blocks come, so scores are never whole.

mod rows;

use crate::batch::{Batch, Sequence};
use crate::buffers::Buffers;
use crate::cache::Kept;
use crate::matrix::Matrix;
use crate::pool::Pool;
use llmopt_arch::program::Attention;
use llmopt_linalg::Gemm;
use rayon::prelude::*;
use rows::{Rows, Scratch};
use std::ops::Range;

/// Attention of every sequence to what is kept of it, which already holds the keys and values of this
/// batch. `gemm` packed them.
pub(crate) fn attend(
    gemm: Gemm,
    buffers: &Buffers,
    attention: &Attention,
    batch: &Batch,
    query: &Matrix,
    kept: &[Kept],
) -> Matrix {
    let mut output = buffers.matrix(query.rows(), query.columns());
    let pool: Pool<Scratch> = Pool::new();
    let tasks = tasks(attention, batch, output.values_mut());
    tasks.into_par_iter().with_max_len(1).for_each(|task| {
        let Task { number, sequence, rows, heads, output } = task;
        pool.with(|scratch| {
            let columns = heads.len() * group(attention) * attention.head_width;
            for (place, head) in heads.enumerate() {
                let rows = Rows {
                    gemm,
                    attention,
                    queries: query.rows_of(rows.of_batch.clone()),
                    first_position: sequence.start + rows.of_batch.start - rows.first_of_sequence,
                    key_value_head: head,
                    blocks: kept[number].blocks(head),
                };
                rows.run(scratch, output, columns, place * group(attention) * attention.head_width);
            }
        });
    });
    output
}

/// Keys and values of a batch whose sequences have nothing before them.
pub(crate) fn kept_of(
    gemm: Gemm,
    attention: &Attention,
    batch: &Batch,
    [key, value]: [&Matrix; 2],
) -> Vec<Kept> {
    let sequences: Vec<_> = batch.rows().map(|(_, rows)| rows).collect();
    let kept = sequences.into_par_iter().with_max_len(1).map(|rows| {
        let mut kept = Kept::new(attention.key_value_heads, attention.head_width);
        kept.extend(gemm, key.rows_of(rows.clone()), value.rows_of(rows));
        kept
    });
    kept.collect()
}

/// What [`attend`] allocates beside its output, and [`kept_of`] before it.
pub(crate) fn scratch_bytes(
    gemm: Gemm,
    attention: &Attention,
    batch: &Batch,
    threads: usize,
) -> usize {
    let Attention { key_value_heads, head_width, .. } = *attention;
    let tasks = batch.tokens() * key_value_heads * size_of::<Task<'_>>();
    let kept = |(_, rows): (Sequence, Range<usize>)| {
        Kept::bytes(gemm, key_value_heads, head_width, rows.len())
    };
    let kept: usize = batch.rows().map(kept).sum();
    tasks + kept + threads * Scratch::bytes(gemm, head_width)
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

/// Rows of a task.
const QUERIES: usize = 64;
