//! What makes the units of a gated layer, if its gate and up projection can be moved.

use llmopt_arch::program::{Activation, Linear, Tap};
use llmopt_linalg::vector;
use llmopt_prune::Slopes;

/// The projections behind a gate that yields the units.
#[derive(Clone, Debug)]
pub(super) struct GatedUnits {
    /// What both read.
    pub(super) input: Tap,
    pub(super) gate: Projection,
    pub(super) up: Projection,
    pub(super) activation: Activation,
    /// What is added to what the reader gives.
    pub(super) reader_bias: Option<String>,
}

/// Rows of a matrix, one for each unit.
#[derive(Clone, Debug)]
pub(super) struct Projection {
    pub(super) tensor: String,
    pub(super) bias: Option<String>,
    /// The row of the first unit.
    pub(super) first: usize,
    pub(super) columns: usize,
}

impl GatedUnits {
    /// The tensors that change, each once.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &str> {
        let up = (self.up.tensor != self.gate.tensor).then_some(&*self.up.tensor);
        [&*self.gate.tensor].into_iter().chain(up)
    }

    pub(super) fn slopes(&self) -> Slopes {
        match self.activation {
            Activation::Silu => vector::silu_slopes,
            Activation::Gelu => vector::gelu_slopes,
            Activation::GeluTanh => vector::gelu_tanh_slopes,
        }
    }
}

impl Projection {
    /// That of the units which begin at a feature of the product.
    pub(super) fn of((linear, first): (&Linear, usize)) -> Self {
        let Linear { weight, bias, columns, .. } = linear;
        Self { tensor: weight.clone(), bias: bias.clone(), first, columns: *columns }
    }
}
