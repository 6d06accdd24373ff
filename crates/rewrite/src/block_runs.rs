//! How often the blocks were run, counted while they are.

use llmopt_arch::program::{Operation, Phase};
use serde::Serialize;
use std::collections::BTreeSet;

/// How often each stream of a calibrated sweep ran what it ran of the blocks: multiply-adds with weights
/// against those of every such weight once on all tokens. A matrix counts as if all tokens went to its
/// expert. What no stream came to, because nothing behind it was to be observed, does not count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BlockRuns {
    /// The original model's stream; none where no method compares with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<f64>,
    /// The stream through the blocks as they are rewritten.
    pub rewritten: f64,
}

impl BlockRuns {
    /// Those of the streams of a stage; none where nothing was run.
    pub(crate) fn of(original: Option<&Multiplied>, rewritten: &Multiplied) -> Option<Self> {
        let original = original.and_then(Multiplied::runs);
        Some(Self { original, rewritten: rewritten.runs()? })
    }
}

/// Multiply-adds of one stream with weights.
#[derive(Debug)]
pub(crate) struct Multiplied {
    /// Of all batches.
    tokens: u64,
    done: u64,
    /// Every weight that was run, once on all tokens.
    once: u64,
    weights: BTreeSet<String>,
}

impl Multiplied {
    /// Nothing yet, of so many tokens.
    pub(crate) fn new(tokens: usize) -> Self {
        Self { tokens: tokens as u64, done: 0, once: 0, weights: BTreeSet::new() }
    }

    /// A phase was run on so many tokens.
    pub(crate) fn add(&mut self, phase: &Phase, tokens: usize) {
        for linear in phase.operations.iter().filter_map(Operation::linear) {
            let elements = (linear.rows * linear.columns) as u64;
            self.done += elements * tokens as u64;
            if !self.weights.contains(&linear.weight) {
                self.weights.insert(linear.weight.clone());
                self.once += elements * self.tokens;
            }
        }
    }

    /// How often the weights were run; none, if none was.
    pub(crate) fn runs(&self) -> Option<f64> {
        (self.once > 0).then(|| self.done as f64 / self.once as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_arch::program::{Linear, Tap};

    fn phase(weights: &[(&str, usize)]) -> Phase {
        let linear = |&(weight, rows): &(&str, usize)| {
            Operation::Linear(Linear {
                input: Tap(0),
                output: Tap(1),
                weight: weight.to_owned(),
                bias: None,
                rows,
                columns: 4,
            })
        };
        let operations = weights.iter().map(linear).collect();
        Phase { name: String::new(), expert: None, operations, carried: Vec::new() }
    }

    #[test]
    fn a_run_is_every_weight_once_on_all_tokens() {
        let mut multiplied = Multiplied::new(10);
        assert_eq!(multiplied.runs(), None);
        for tokens in [7, 3] {
            multiplied.add(&phase(&[("a", 8), ("b", 16)]), tokens);
        }
        assert_eq!(multiplied.runs(), Some(1.0));
        // A third of what there is, once more.
        multiplied.add(&phase(&[("a", 8)]), 10);
        assert_eq!(multiplied.runs(), Some(4.0 / 3.0));
        // What only some tokens went through is less than a run.
        multiplied.add(&phase(&[("c", 24)]), 5);
        assert_eq!(multiplied.runs(), Some((8.0 * 2.0 + 16.0 + 12.0) / 48.0));
    }
}
