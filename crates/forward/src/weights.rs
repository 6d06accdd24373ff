//! The weights of one phase.

use llmopt_linalg::Packed;
use llmopt_scheme::Activations;
use std::collections::BTreeMap;

/// What the operations of one phase name.
#[derive(Default)]
pub struct Weights {
    /// By the name of the weight.
    pub linears: BTreeMap<String, Linear>,
    /// Gains of norms, by the tensor's name.
    pub vectors: BTreeMap<String, Vec<f32>>,
}

/// A matrix that inputs are multiplied with, and what is done before and after.
pub struct Linear {
    /// `[rows, columns]`. [`Packed::bands_mut`] lets it be filled in parallel while it is read.
    pub packed: Packed,
    /// What is added, `[rows]`.
    pub bias: Option<Vec<f32>>,
    /// Inputs are quantized and dequantized as the runtime will, before the product.
    pub activations: Activations,
}

impl Linear {
    /// A matrix to be filled, on inputs as they are.
    pub fn new(packed: Packed) -> Self {
        Self { packed, bias: None, activations: Activations::None }
    }
}
