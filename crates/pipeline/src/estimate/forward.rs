//! What running a model takes.

use super::work::{Kind, Work};
use crate::reading::Batches;
use llmopt_arch::Program;
use llmopt_arch::program::{Attention, Operation, Phase};
use llmopt_forward::Batch;

/// A phase on one batch, its weights at hand.
pub(crate) fn phase(program: &Program, phase: &Phase, batch: &Batch) -> Work {
    let tokens = batch.tokens() as f64;
    let rows = if phase.expert.is_some() { tokens * share_of_expert(program) } else { tokens };
    let of = |operation: &Operation| match operation {
        Operation::Linear(linear) => {
            Work::of(Kind::Products, rows * (linear.rows * linear.columns) as f64)
        }
        Operation::Attend(attention) => attend(attention, batch),
        // Columns are looked at where they are.
        Operation::Split { .. } => Work::default(),
        operation => {
            let width: usize = operation.writes().iter().map(|&tap| program.width(tap)).sum();
            Work::of(Kind::Values, rows * width as f64)
        }
    };
    phase.operations.iter().map(of).sum()
}

/// Reading and packing the weights of a phase.
pub(crate) fn weights(phase: &Phase) -> Work {
    let linears = phase.operations.iter().filter_map(Operation::linear);
    Work::of(Kind::Decoded, linears.map(|linear| (linear.rows * linear.columns) as f64).sum())
}

/// A phase on every batch.
pub(crate) fn passed(program: &Program, of: &Phase, batches: &Batches) -> Work {
    let on = |batch| phase(program, of, &batches.shape_of(batch));
    weights(of) + (0..batches.len()).map(on).sum()
}

/// Every block on every batch, and the logits that are asked for.
pub(crate) fn read(program: &Program, batches: &Batches) -> Work {
    let phases = program.blocks.iter().flat_map(|block| &block.phases);
    let blocks: Work = phases.map(|phase| passed(program, phase, batches)).sum();
    let positions: usize = (0..batches.len()).map(|batch| batches.positions_of(batch).len()).sum();
    let packed = Work::of(Kind::Decoded, (program.vocabulary * program.hidden) as f64);
    blocks + packed + head(program, positions, program.vocabulary)
}

/// Logits of so many positions, for so many tokens of the vocabulary, the head at hand.
pub(crate) fn head(program: &Program, positions: usize, vocabulary: usize) -> Work {
    let logits = positions as f64 * vocabulary as f64;
    Work::of(Kind::Products, logits * program.hidden as f64)
        + Work::of(Kind::Logits, logits)
}

/// The share of the tokens that one expert sees, if all see as many.
pub(crate) fn share_of_expert(program: &Program) -> f64 {
    let phases = program.blocks.iter().flat_map(|block| &block.phases);
    let routes = phases.flat_map(|phase| &phase.operations).find_map(|operation| match operation {
        Operation::Route { output, top, .. } => Some(*top as f64 / program.width(*output) as f64),
        _ => None,
    });
    routes.unwrap_or(1.0)
}

fn attend(attention: &Attention, batch: &Batch) -> Work {
    let seen = |length: usize| {
        let window = attention.window.unwrap_or(length).min(length);
        // The first tokens see fewer than a window, all others a whole one.
        (window * (window + 1) / 2 + (length - window) * window) as f64
    };
    let pairs: f64 = batch.sequences().iter().map(|sequence| seen(sequence.length)).sum();
    // Scores, and what they weigh.
    Work::of(Kind::Attention, 2.0 * pairs * (attention.heads * attention.head_width) as f64)
}
