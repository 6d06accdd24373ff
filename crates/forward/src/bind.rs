//! Looking up what a segment names.

use crate::batch::Batch;
use crate::error::ForwardError;
use crate::ops::norm::Norm;
use crate::outline::Segment;
use crate::segment::{Bound, Ropes, Slot, Step};
use crate::weights::{Linear, Weights};
use llmopt_arch::program::{self, Operation, Phase, Program, Tap};
use llmopt_scheme::Activations;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Looks up what the operations of `segment` name.
pub(crate) fn bind<'a>(
    program: &'a Program,
    phase: &'a Phase,
    segment: &Segment<'a>,
    weights: &'a Weights,
    batch: &Batch,
    ropes: &mut Ropes,
) -> Result<Bound<'a>, ForwardError> {
    let whole = segment.reads.iter().chain(&segment.changes).chain(&segment.makes);
    let first_local = whole.clone().count();
    let taps = whole.chain(&segment.locals).copied();
    let locals = segment.locals.iter().map(|&tap| program.width(tap)).collect();
    let mut binder = Binder {
        program,
        phase,
        weights,
        slots: taps.enumerate().map(|(slot, tap)| (tap, slot)).collect(),
        first_local,
        bound: Bound { steps: Vec::new(), locals },
        quantized: BTreeMap::new(),
    };
    for operation in segment.operations {
        binder.operation(operation, batch, ropes)?;
    }
    Ok(binder.bound)
}

struct Binder<'a> {
    program: &'a Program,
    phase: &'a Phase,
    weights: &'a Weights,
    slots: BTreeMap<Tap, Slot>,
    first_local: Slot,
    bound: Bound<'a>,
    /// Inputs that are quantized already: linears that share an input share the work.
    quantized: BTreeMap<Tap, Vec<(Activations, Slot)>>,
}

impl<'a> Binder<'a> {
    fn operation(
        &mut self,
        operation: &'a Operation,
        batch: &Batch,
        ropes: &mut Ropes,
    ) -> Result<(), ForwardError> {
        let step = match operation {
            Operation::Norm { input, output, weight, epsilon, from_one, width } => Step::Norm {
                input: self.input(*input, *output),
                output: self.slots[output],
                norm: Norm {
                    gains: self.gains(weight, *from_one, *width, self.program.width(*input))?,
                    epsilon: *epsilon,
                    width: *width,
                },
            },
            Operation::Linear(linear) => {
                let found = self.linear(linear)?;
                let input = self.input(linear.input, linear.output);
                let input = self.quantized(linear.input, input, found.activations_before());
                Step::Linear { input, output: self.slots[&linear.output], linear: found }
            }
            Operation::Split { input, outputs } => {
                let output = |tap: &Tap| (self.program.width(*tap), self.slots[tap]);
                let outputs = outputs.iter().map(output).collect();
                Step::Split { input: self.slots[input], outputs }
            }
            Operation::Rotate { taps, head_width, rope } => Step::Rotate {
                slots: taps.iter().map(|tap| self.slots[tap]).collect(),
                head_width: *head_width,
                tables: ropes.number(rope, batch),
            },
            Operation::Gate { gate, up, output, activation } => Step::Gate {
                gate: self.input(*gate, *output),
                up: self.input(*up, *output),
                output: self.slots[output],
                activation: *activation,
            },
            Operation::Add { input, output, scale } => Step::Add {
                input: self.input(*input, *output),
                output: self.slots[output],
                scale: *scale,
            },
            Operation::Route { input, output, top, renormalize } => Step::Route {
                input: self.input(*input, *output),
                output: self.slots[output],
                experts: self.program.width(*input),
                top: *top,
                renormalize: *renormalize,
            },
            Operation::Attend(_) | Operation::Gather { .. } | Operation::Scatter { .. } => {
                unreachable!("an outline puts these in stages of their own")
            }
        };
        self.bound.steps.push(step);
        for tap in operation.writes() {
            self.quantized.remove(&tap);
        }
        Ok(())
    }

    /// The slot of an input; of a copy, where it would be overwritten while it is read.
    fn input(&mut self, tap: Tap, output: Tap) -> Slot {
        let input = self.slots[&tap];
        if tap != output {
            return input;
        }
        let copy = self.local(self.program.width(tap));
        self.bound.steps.push(Step::Copy { input, output: copy });
        copy
    }

    /// The slot of the values of `tap`, which are in `input`, as `to` leaves them.
    fn quantized(&mut self, tap: Tap, input: Slot, to: Activations) -> Slot {
        if to == Activations::None {
            return input;
        }
        let known = self.quantized.get(&tap).into_iter().flatten();
        if let Some((_, slot)) = known.into_iter().find(|(other, _)| *other == to) {
            return *slot;
        }
        let columns = self.program.width(tap);
        let output = self.local(columns);
        self.bound.steps.push(Step::Quantize { input, output, columns, to });
        self.quantized.entry(tap).or_default().push((to, output));
        output
    }

    fn local(&mut self, width: usize) -> Slot {
        self.bound.locals.push(width);
        self.first_local + self.bound.locals.len() - 1
    }

    fn gains(
        &self,
        tensor: &str,
        from_one: bool,
        width: usize,
        columns: usize,
    ) -> Result<Cow<'a, [f32]>, ForwardError> {
        let gains = self.weights.vectors.get(tensor).ok_or_else(|| self.missing(tensor))?;
        if gains.len() != width && gains.len() != columns {
            return Err(self.size(tensor, width, gains.len()));
        }
        let shifted = || gains.iter().map(|gain| 1.0 + gain).collect();
        Ok(if from_one { Cow::Owned(shifted()) } else { Cow::Borrowed(gains) })
    }

    fn linear(&self, asked: &program::Linear) -> Result<&'a Linear, ForwardError> {
        let found = self.weights.linears.get(&asked.weight);
        let found = found.ok_or_else(|| self.missing(&asked.weight))?;
        let shape = (found.packed.rows(), found.packed.columns());
        if shape != (asked.rows, asked.columns) {
            let text = |(rows, columns)| format!("{rows} by {columns}");
            return Err(self.size(&asked.weight, text((asked.rows, asked.columns)), text(shape)));
        }
        if found.activations == Activations::Fp8Group(0) {
            let what = format!("linear: groups of no columns for the inputs of `{}`", asked.weight);
            return Err(ForwardError::program(self.phase, what));
        }
        match (&asked.bias, &found.bias) {
            (Some(name), None) => Err(self.missing(name)),
            (None, Some(bias)) => Err(self.size(&format!("{}, bias", asked.weight), 0, bias.len())),
            (Some(name), Some(bias)) if bias.len() != asked.rows => {
                Err(self.size(name, asked.rows, bias.len()))
            }
            _ => Ok(found),
        }
    }

    fn missing(&self, tensor: &str) -> ForwardError {
        ForwardError::Missing { phase: self.phase.name.clone(), tensor: tensor.to_owned() }
    }

    fn size(&self, tensor: &str, expected: impl ToString, found: impl ToString) -> ForwardError {
        ForwardError::Size {
            phase: self.phase.name.clone(),
            tensor: tensor.to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}
