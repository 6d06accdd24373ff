//! Bytes that decoding reads from memory.

use crate::generation::WeightBytes;
use llmopt_arch::Program;
use llmopt_arch::program::Operation;
use llmopt_forward::State;
use llmopt_model::Variant;
use serde::Serialize;

/// Bytes that are read for a token of a sequence, the mean over the tokens decoded. What a step reads once for all
/// sequences is shared out among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BytesPerToken {
    /// Weights of all layers.
    pub layers: u64,
    /// Weights of the output head.
    pub head: u64,
    /// Keys and values of the tokens before.
    pub cache: u64,
    /// A row of the embedding, as it is stored.
    pub embedding: u64,
}

impl BytesPerToken {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.layers + self.head + self.cache + self.embedding
    }

    /// Of a model with these weights, where so many sequences decode `tokens` tokens each after a prompt of
    /// `prompt`.
    pub(super) fn of(
        variant: &Variant,
        weights: &WeightBytes,
        batch: usize,
        (prompt, tokens): (usize, usize),
    ) -> Self {
        let program = variant.program();
        let shared = |bytes: f64| (bytes / batch as f64).round() as u64;
        let experts = weights.experts as f64 * experts_read(program, batch);
        // The first token decoded sees the prompt and itself.
        let seen = prompt as f64 + (tokens as f64 + 1.0) / 2.0;
        Self {
            layers: shared(weights.layers as f64 + experts),
            head: shared(weights.head as f64),
            cache: (seen * State::bytes_per_token(program) as f64).round() as u64,
            embedding: variant.bytes_of(&program.embedding.tensor)
                / program.vocabulary.max(1) as u64,
        }
    }
}

/// The share of a model's experts that a step of so many sequences reads, where routers send tokens to all experts
/// alike.
fn experts_read(program: &Program, batch: usize) -> f64 {
    let phases = program.blocks.iter().flat_map(|block| &block.phases);
    let mut operations = phases.flat_map(|phase| &phase.operations);
    let routed = operations.find_map(|operation| match operation {
        Operation::Route { output, top, .. } => {
            Some(*top as f64 / program.width(*output).max(1) as f64)
        }
        _ => None,
    });
    routed.map_or(1.0, |share| 1.0 - (1.0 - share).powi(batch as i32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn variant(name: &str) -> Variant {
        let families = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/families");
        Variant::open(&families.join(name)).expect("a family's checkpoint")
    }

    #[test]
    fn weights_are_shared_out_and_the_cache_is_each_sequence_s_own() {
        let variant = variant("llama");
        let weights = WeightBytes { layers: 1000, experts: 0, head: 100 };
        let of = |batch| BytesPerToken::of(&variant, &weights, batch, (10, 3));
        let (alone, four) = (of(1), of(4));
        assert_eq!((alone.layers, alone.head), (1000, 100));
        assert_eq!((four.layers, four.head), (250, 25));
        // Sequences of 11, 12 and 13 tokens.
        assert_eq!(alone.cache, 12 * State::bytes_per_token(variant.program()));
        assert_eq!((four.cache, four.embedding), (alone.cache, alone.embedding));
        // A row of BF16 weights.
        assert_eq!(alone.embedding, 2 * variant.program().hidden as u64);
        assert_eq!(alone.total(), 1100 + alone.cache + alone.embedding);
    }

    #[test]
    fn experts_count_as_far_as_tokens_go_to_them() {
        let variant = variant("mixtral");
        let share = experts_read(variant.program(), 1);
        assert!(share > 0.0 && share < 1.0, "{share}");
        let two = experts_read(variant.program(), 2);
        assert!((two - (2.0 * share - share * share)).abs() < 1e-12, "{two}");
        assert!(experts_read(variant.program(), 1000) > 0.999);
    }
}
