//! Values of a block: what a tap holds from one operation that makes it to the next.

use crate::Program;
use crate::program::{Block, Linear, Operation, Tap};

/// What a tap holds from when it is made. Taps are used again and again, a value is made once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// The place of the operation that makes it; `None` for what the block begins with.
    pub(super) made_at: Option<usize>,
    /// Where it is.
    pub(super) tap: Tap,
}

/// A block's operations one after the other, each with the number of its phase.
pub(super) struct Flow<'a> {
    operations: Vec<(usize, &'a Operation)>,
}

impl<'a> Flow<'a> {
    pub(super) fn new(block: &'a Block) -> Self {
        let phases = block.phases.iter().enumerate();
        let operations = phases.flat_map(|(number, phase)| {
            phase.operations.iter().map(move |operation| (number, operation))
        });
        Self { operations: operations.collect() }
    }

    /// Every matrix product, with its place.
    pub(super) fn linears(&self) -> impl Iterator<Item = (usize, &'a Linear)> {
        let operations = self.operations.iter().enumerate();
        operations.filter_map(|(at, (_, operation))| Some((at, operation.linear()?)))
    }

    /// What a tap holds when the operation at a place begins.
    pub(super) fn value_before(&self, place: usize, tap: Tap) -> Value {
        let is_made = |(_, operation): &(usize, &Operation)| operation.writes().contains(&tap);
        Value { made_at: self.operations[..place].iter().rposition(is_made), tap }
    }

    /// The operation that makes a value, and the number of its phase.
    pub(super) fn maker(&self, value: Value) -> Option<(usize, &'a Operation)> {
        value.made_at.map(|at| self.operations[at])
    }

    /// The operations that take a value, with their places; one that changes it in place is the last.
    pub(super) fn readers(&self, value: Value) -> impl Iterator<Item = (usize, &'a Operation)> {
        let Value { made_at, tap } = value;
        let first = made_at.map_or(0, |at| at + 1);
        let later = self.operations.iter().enumerate().skip(first);
        let mut is_held = true;
        let held = later.take_while(move |(_, (_, operation))| {
            let was_held = is_held;
            is_held &= !operation.writes().contains(&tap);
            was_held
        });
        let all = held.map(|(at, (_, operation))| (at, *operation));
        all.filter(move |(_, operation)| operation.reads().contains(&tap))
    }

    /// Whether the next block finds the value: the hidden state as the last operation left it.
    pub(super) fn outlives(&self, value: Value) -> bool {
        value.tap == Program::HIDDEN && self.value_before(self.operations.len(), value.tap) == value
    }

    /// The value whose rows these are, if some were picked.
    pub(super) fn ungathered(&self, value: Value) -> Value {
        match (self.maker(value), value.made_at) {
            (Some((_, Operation::Gather { input, .. })), Some(at)) => {
                self.ungathered(self.value_before(at, *input))
            }
            _ => value,
        }
    }
}
