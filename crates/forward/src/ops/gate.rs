//! Gated activation.

use llmopt_arch::program::Activation;
use llmopt_linalg::vector;

/// `output = activation(gate) * up`.
pub(crate) fn gate(activation: Activation, gate: &[f32], up: &[f32], output: &mut [f32]) {
    match activation {
        Activation::Silu => vector::silu_times(gate, up, output),
        Activation::Gelu => vector::gelu_times(gate, up, output),
        Activation::GeluTanh => vector::gelu_tanh_times(gate, up, output),
    }
}
