//! A segment with its weights, so that chunks of rows run straight.

use crate::batch::Batch;
use crate::ops::norm::Norm;
use crate::ops::rotate::Tables;
use crate::weights::Linear;
use llmopt_arch::program::{Activation, Rope};
use llmopt_scheme::Activations;

/// Steps over numbered slots: taps that are read whole, then those that are written whole, then
/// those of a chunk alone.
pub(crate) struct Bound<'a> {
    pub(crate) steps: Vec<Step<'a>>,
    /// Columns of the slots of a chunk alone.
    pub(crate) locals: Vec<usize>,
}

/// A slot's number.
pub(crate) type Slot = usize;

/// One operation. Its output is never also its input, unless it says that it works in place.
pub(crate) enum Step<'a> {
    Copy {
        input: Slot,
        output: Slot,
    },
    Norm {
        input: Slot,
        output: Slot,
        norm: Norm<'a>,
    },
    Quantize {
        input: Slot,
        output: Slot,
        columns: usize,
        to: Activations,
    },
    Linear {
        input: Slot,
        output: Slot,
        linear: &'a Linear,
    },
    Split {
        input: Slot,
        outputs: Vec<(usize, Slot)>,
    },
    /// In place.
    Rotate {
        slots: Vec<Slot>,
        head_width: usize,
        tables: usize,
    },
    Gate {
        gate: Slot,
        up: Slot,
        output: Slot,
        activation: Activation,
    },
    Add {
        input: Slot,
        output: Slot,
        scale: f32,
    },
    Route {
        input: Slot,
        output: Slot,
        experts: usize,
        top: usize,
        renormalize: bool,
    },
}

/// Tables of every rope that a run has met.
#[derive(Default)]
pub(crate) struct Ropes(Vec<(Rope, Tables)>);

impl Ropes {
    pub(crate) fn tables(&self, number: usize) -> &Tables {
        &self.0[number].1
    }

    pub(crate) fn number(&mut self, rope: &Rope, batch: &Batch) -> usize {
        let found = self.0.iter().position(|(other, _)| other == rope);
        found.unwrap_or_else(|| {
            self.0.push((rope.clone(), Tables::new(rope, batch)));
            self.0.len() - 1
        })
    }
}
