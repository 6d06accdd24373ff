//! What is carried from phase to phase for one batch.

use crate::matrix::Matrix;
use llmopt_arch::program::{Program, Tap};
use std::collections::BTreeMap;

/// The taps that are alive, each a matrix with a row per token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taps {
    matrices: BTreeMap<Tap, Matrix>,
}

impl Taps {
    /// The hidden state alone: how a block begins.
    pub fn new(hidden: Matrix) -> Self {
        Self { matrices: BTreeMap::from([(Program::HIDDEN, hidden)]) }
    }

    /// The hidden state.
    pub fn hidden(&self) -> Option<&Matrix> {
        self.get(Program::HIDDEN)
    }

    /// The hidden state, and everything else is gone.
    pub fn into_hidden(mut self) -> Option<Matrix> {
        self.take(Program::HIDDEN)
    }

    /// The matrix of a tap.
    pub fn get(&self, tap: Tap) -> Option<&Matrix> {
        self.matrices.get(&tap)
    }

    /// Gives a tap a matrix in place of what it had.
    pub fn insert(&mut self, tap: Tap, matrix: Matrix) {
        self.matrices.insert(tap, matrix);
    }

    /// Removes the matrix of a tap.
    pub fn take(&mut self, tap: Tap) -> Option<Matrix> {
        self.matrices.remove(&tap)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(Tap) -> bool) {
        self.matrices.retain(|&tap, _| keep(tap));
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> u64 {
        self.matrices.values().map(|matrix| size_of_val(matrix.values()) as u64).sum()
    }

    /// Each tap and its matrix, in the order of taps.
    pub fn iter(&self) -> impl Iterator<Item = (Tap, &Matrix)> {
        self.matrices.iter().map(|(&tap, matrix)| (tap, matrix))
    }
}
