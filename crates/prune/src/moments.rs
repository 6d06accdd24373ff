//! What is known of a matrix and its inputs.

use llmopt_linalg::{Cross, Symmetric};

/// A matrix, and sums over tokens of what it reads and of what it should have read. Sums are not
/// divided by the number of tokens.
///
/// With inputs `x`, those of the original model `y`, and `s - r` what the stream that outputs are added
/// to has lost, the outputs asked for are `t = W y + s - r`.
#[derive(Clone, Copy)]
pub struct Moments<'a> {
    /// The original weights W, `[rows, columns]`, row-major.
    pub weights: &'a [f32],
    /// Sum of `x x^T` over the inputs that the pruned matrix will see, before anything is removed of
    /// them.
    pub gram: &'a Symmetric,
    /// Sum of `(y - x) x^T`.
    pub cross: Option<&'a Cross>,
    /// Sum of `(s - r) x^T`, `[rows, columns]`, row-major.
    pub residual: Option<&'a [f32]>,
    /// What it takes to fit a bias with the weights.
    pub constant: Option<Constant<'a>>,
}

/// The moments of an input that is always one: its weights are a bias.
#[derive(Clone, Copy)]
pub struct Constant<'a> {
    /// How many inputs were summed, at least one.
    pub tokens: u64,
    /// Sum of `x`, by column.
    pub inputs: &'a [f64],
    /// Sum of `t - W x`, by row: what the sums of `y - x` and `s - r` make of it. Absent where nothing
    /// has changed.
    pub residual: Option<&'a [f64]>,
}

impl Moments<'_> {
    /// Length of an input.
    pub fn columns(&self) -> usize {
        self.gram.order()
    }

    /// Length of an output.
    pub fn rows(&self) -> usize {
        self.weights.len() / self.columns().max(1)
    }

    pub(crate) fn check(&self) {
        let (rows, columns) = (self.rows(), self.columns());
        assert_eq!(self.weights.len(), rows * columns, "whole rows of weights");
        assert!(self.cross.is_none_or(|cross| cross.order() == columns));
        assert!(self.residual.is_none_or(|residual| residual.len() == rows * columns));
        if let Some(Constant { tokens, inputs, residual }) = self.constant {
            assert!(tokens > 0 && inputs.len() == columns);
            assert!(residual.is_none_or(|residual| residual.len() == rows));
        }
    }
}
