//! What weights in memory take, as they are packed.

use super::Loaded;
use llmopt_arch::program::Phase;
use llmopt_forward::{Linear, Weights};
use serde::Serialize;

/// Bytes of the weights in memory, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WeightBytes {
    /// All layers, without what only some tokens go to.
    pub layers: u64,
    /// Experts of all layers, of which a token goes to some.
    pub experts: u64,
    /// The output head and the norm before it.
    pub head: u64,
}

impl WeightBytes {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.layers + self.experts + self.head
    }
}

impl Loaded<'_> {
    /// What the weights take.
    pub(crate) fn bytes(&self) -> WeightBytes {
        let blocks = self.variant.program().blocks.iter().zip(&self.blocks);
        let phases = blocks.flat_map(|(block, weights)| block.phases.iter().zip(weights));
        let of = |is_expert: bool| -> u64 {
            let wanted = |(phase, _): &(&Phase, &Weights)| phase.expert.is_some() == is_expert;
            phases.clone().filter(wanted).map(|(_, weights)| of_phase(weights)).sum()
        };
        WeightBytes {
            layers: of(false),
            experts: of(true),
            head: of_phase(&self.norm) + of_linear(&self.head),
        }
    }
}

fn of_phase(weights: &Weights) -> u64 {
    let linears: u64 = weights.linears.values().map(of_linear).sum();
    let vectors: usize = weights.vectors.values().map(|vector| size_of_val(&vector[..])).sum();
    linears + vectors as u64
}

fn of_linear(linear: &Linear) -> u64 {
    let bias = linear.bias.as_ref().map_or(0, |bias| size_of_val(&bias[..]));
    (linear.packed.bytes() + bias) as u64
}
