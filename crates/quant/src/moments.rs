//! What the inputs of a matrix showed.

use llmopt_linalg::{Cross, Symmetric};

/// The moments of the inputs of one or more matrices: sums over tokens, not divided by their number.
#[derive(Clone, Copy)]
pub struct Moments<'a> {
    /// Sum of `x x^T` over the inputs `x` that the quantized matrix will see.
    pub gram: &'a Symmetric,
    /// Sum of `(y - x) x^T`, where `y` are the inputs at the same places before anything was
    /// quantized.
    pub cross: Option<&'a Cross>,
    /// Where the outputs are added to a stream: sum of `(s - r) x^T`, `[rows, columns]`, where `r` is
    /// what they are added to and `s` is that before anything was quantized.
    pub residual: Option<&'a [f32]>,
    /// How many inputs were summed.
    pub tokens: u64,
}

impl Moments<'_> {
    /// Length of an input.
    pub fn columns(&self) -> usize {
        self.gram.order()
    }
}
