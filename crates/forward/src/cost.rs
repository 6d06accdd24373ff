//! What a run allocates, known before it.

use crate::batch::Batch;
use crate::chunk::ROWS;
use crate::engine::Engine;
use crate::error::ForwardError;
use crate::ops::attention;
use crate::ops::rotate::Tables;
use crate::outline::{Outline, Segment, Work};
use llmopt_arch::program::{Operation, Phase, Program, Tap};
use std::collections::BTreeSet;

impl Engine {
    /// A bound on what [`Engine::run`] allocates for `phase` on `threads` threads at any time: taps
    /// that it makes, carried or not, and scratch memory. Weights, taps that are there before, and
    /// the [`State`](crate::State) come on top.
    ///
    /// # Errors
    /// [`ForwardError::Program`], as [`Engine::run`] would.
    pub fn working_bytes(
        &self,
        program: &Program,
        phase: &Phase,
        batch: &Batch,
        threads: usize,
    ) -> Result<u64, ForwardError> {
        self.observing_bytes(program, phase, batch, &[], threads)
    }

    /// As [`Engine::working_bytes`], for [`Engine::observe`].
    ///
    /// # Errors
    /// [`ForwardError::Program`], as [`Engine::observe`] would.
    pub fn observing_bytes(
        &self,
        program: &Program,
        phase: &Phase,
        batch: &Batch,
        watched: &[Tap],
        threads: usize,
    ) -> Result<u64, ForwardError> {
        let tokens = batch.tokens();
        let bytes = |tap: &Tap| tokens * program.width(*tap) * size_of::<f32>();
        let (mut alive, mut most) = (BTreeSet::new(), 0);
        let mut ropes = 0;
        for stage in &Outline::new(program, phase, watched)?.stages {
            let (makes, scratch) = match &stage.work {
                Work::Rows(segment) => {
                    ropes += rope_bytes(segment, tokens);
                    (segment.makes.clone(), self.segment_bytes(program, segment, tokens, threads))
                }
                Work::Attend(attention) => {
                    let scratch =
                        attention::scratch_bytes(self.gemm.in_f32(), attention, batch, threads);
                    (vec![attention.output], scratch)
                }
                Work::Gather { output, .. } | Work::Scatter { output, .. } => {
                    (vec![*output], tokens * size_of::<usize>() * 2)
                }
            };
            alive.extend(makes);
            most = most.max(alive.iter().map(bytes).sum::<usize>() + scratch + ropes);
            alive.retain(|tap| !stage.ends.contains(tap));
        }
        Ok(most as u64)
    }

    /// Bytes of the taps that `phase` leaves.
    pub fn carried_bytes(program: &Program, phase: &Phase, batch: &Batch) -> u64 {
        let facts = phase.carried.iter().filter_map(|tap| program.taps.get(tap.0));
        facts.map(|facts| (batch.tokens() * facts.width * size_of::<f32>()) as u64).sum()
    }

    /// What [`Engine::logits`] allocates for so many rows and tokens of the vocabulary.
    pub fn logits_bytes(
        &self,
        program: &Program,
        rows: usize,
        slice: usize,
        threads: usize,
    ) -> u64 {
        let working = threads.min(rows.div_ceil(ROWS));
        let quantized = working * ROWS.min(rows) * program.hidden;
        let products = self.product_bytes(rows, program.hidden, slice, threads);
        ((rows * slice + quantized) * size_of::<f32>() + products) as u64
    }

    fn segment_bytes(
        &self,
        program: &Program,
        segment: &Segment<'_>,
        tokens: usize,
        threads: usize,
    ) -> usize {
        let rows = tokens.min(ROWS);
        let copied = copied(segment);
        let columns = segment.locals.iter().chain(&copied).map(|&tap| program.width(tap));
        let locals = rows * columns.sum::<usize>() * size_of::<f32>();
        let products = segment.operations.iter().filter_map(|operation| match operation {
            Operation::Linear(linear) => {
                Some(self.product_bytes(tokens, linear.columns, linear.rows, threads))
            }
            _ => None,
        });
        threads.min(tokens.div_ceil(ROWS)) * locals + products.max().unwrap_or(0)
    }

    /// What products of so many rows take on all threads together.
    fn product_bytes(&self, rows: usize, columns: usize, features: usize, threads: usize) -> usize {
        let scratch = threads * self.gemm.scratch_bytes(rows.min(ROWS), columns);
        let panels = if rows > ROWS { 0 } else { rows * features * size_of::<f32>() };
        scratch + panels
    }
}

/// Taps of which a chunk may have a copy: inputs to be quantized or overwritten, gains.
fn copied(segment: &Segment<'_>) -> BTreeSet<Tap> {
    segment.operations.iter().flat_map(Operation::reads).collect()
}

fn rope_bytes(segment: &Segment<'_>, tokens: usize) -> usize {
    let ropes = segment.operations.iter().filter_map(|operation| match operation {
        Operation::Rotate { rope, .. } => Some(Tables::bytes(rope, tokens)),
        _ => None,
    });
    ropes.sum()
}
