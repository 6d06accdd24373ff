//! What running a model takes.

use crate::batches::Batches;
use crate::work::{Kind, Work};
use llmopt_arch::Program;
use llmopt_arch::program::{Attention, Operation, Phase};
use llmopt_forward::Batch;

/// A phase on one batch, its weights at hand.
pub fn phase(program: &Program, phase: &Phase, batch: &Batch) -> Work {
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
pub fn weights(phase: &Phase) -> Work {
    let linears = phase.operations.iter().filter_map(Operation::linear);
    Work::of(Kind::Decoded, linears.map(|linear| (linear.rows * linear.columns) as f64).sum())
}

/// A phase on every batch.
pub fn passed(program: &Program, of: &Phase, batches: &Batches) -> Work {
    weights(of) + computed(program, of, batches)
}

/// A phase on every batch, its weights at hand.
pub fn computed(program: &Program, of: &Phase, batches: &Batches) -> Work {
    let on = |batch| phase(program, of, &batches.shape_of(batch));
    (0..batches.len()).map(on).sum()
}

/// Every block on every batch, and the logits that are asked for.
pub fn read(program: &Program, batches: &Batches) -> Work {
    let phases = program.blocks.iter().flat_map(|block| &block.phases);
    let blocks: Work = phases.map(|phase| passed(program, phase, batches)).sum();
    let positions: usize = (0..batches.len()).map(|batch| batches.positions_of(batch).len()).sum();
    blocks
        + head_weights(program, program.vocabulary)
        + head(program, positions, program.vocabulary)
}

/// Reading and packing the head for so many tokens of the vocabulary.
pub fn head_weights(program: &Program, vocabulary: usize) -> Work {
    Work::of(Kind::Decoded, (vocabulary * program.hidden) as f64)
}

/// Logits of so many positions, for so many tokens of the vocabulary, the head at hand.
pub fn head(program: &Program, positions: usize, vocabulary: usize) -> Work {
    let logits = positions as f64 * vocabulary as f64;
    Work::of(Kind::Products, logits * program.hidden as f64) + Work::of(Kind::Logits, logits)
}

/// The share of the tokens that one expert sees, if all see as many.
pub fn share_of_expert(program: &Program) -> f64 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_model::Variant;
    use std::path::Path;

    /// Four layers of hidden width 128: four heads of 32 columns, two of keys and values, and an MLP of
    /// 384 units.
    fn tiny() -> Variant {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-llama");
        Variant::open(&path).expect("a model")
    }

    fn over_blocks(lengths: &[usize]) -> Work {
        let variant = tiny();
        let program = variant.program();
        let batch = Batch::of_lengths(lengths.iter().copied());
        let phases = program.blocks.iter().flat_map(|block| &block.phases);
        phases.map(|of| phase(program, of, &batch)).sum()
    }

    #[test]
    fn operations_are_those_counted_by_hand() {
        let work = over_blocks(&[10, 6]);
        let linears = 2 * 128 * 128 + 2 * 64 * 128 + 3 * 384 * 128;
        assert_eq!(work.count(Kind::Products), (4 * 16 * linears) as f64);
        // Each token sees itself and those before it: 55 and 21 pairs.
        assert_eq!(work.count(Kind::Attention), (4 * 2 * (55 + 21) * 4 * 32) as f64);
        // Two norms, queries and keys rotated, a gate, two sums.
        let values = 2 * 128 + (128 + 64) + 384 + 2 * 128;
        assert_eq!(work.count(Kind::Values), (4 * 16 * values) as f64);
    }

    #[test]
    fn longer_sequences_cost_their_square_in_attention_alone() {
        let (two, one) = (over_blocks(&[500, 500]), over_blocks(&[1000]));
        assert_eq!(one.count(Kind::Products), two.count(Kind::Products));
        let ratio = one.count(Kind::Attention) / two.count(Kind::Attention);
        assert!((ratio - 2.0).abs() < 0.01, "{ratio}");
    }

    #[test]
    fn a_head_is_as_many_products_as_logits_times_its_width() {
        let variant = tiny();
        let work = head(variant.program(), 3, 7);
        assert_eq!(work.count(Kind::Products), (3 * 7 * 128) as f64);
        assert_eq!(work.count(Kind::Logits), 21.0);
    }
}
