//! The weights of one phase.

use llmopt_linalg::{Gemm, InputCodes, Inputs, Packed};
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

    /// What is done to inputs before they are made ready for the product: nothing where the product
    /// itself takes the integers of a runtime.
    pub(crate) fn activations_before(&self) -> Activations {
        match self.activations {
            Activations::Int8Token if self.packed.codes().is_some() => Activations::None,
            activations => activations,
        }
    }

    /// Rows of inputs, ready for the product.
    pub(crate) fn inputs<'a>(&self, gemm: Gemm, inputs: &'a [f32]) -> Inputs<'a> {
        let to = match self.activations {
            Activations::Int8Token => InputCodes::Int8Row,
            _ => gemm.code_inputs(),
        };
        gemm.inputs(inputs, &self.packed, to)
    }
}
