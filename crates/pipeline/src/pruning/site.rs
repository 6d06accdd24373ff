//! Where the units of a gated layer come from, if its gate and up projection can be moved.

use crate::pruning::budget::reads;
use crate::pruning::sweep::follows;
use crate::pruning::target::Target;
use llmopt_arch::program::{Activation, Linear, Operation, Phase, Program, Tap};
use llmopt_linalg::vector;
use llmopt_prune::Slopes;

/// The projections behind a gate that yields the units.
#[derive(Clone, Debug)]
pub(super) struct Site {
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

impl Site {
    /// That of the units that `phase` multiplies with the reader of `target`: none where nothing says
    /// what the reader should give, or units are no products behind a gate.
    pub(super) fn of(phase: &Phase, program: &Program, target: &Target) -> Option<Self> {
        let units = reads(phase, target).filter(|_| follows(phase, target))?;
        let hidden = |operation: &&Operation| operation.writes().contains(&Program::HIDDEN);
        if phase.operations.iter().filter(hidden).count() != 1 {
            return None;
        }
        let gates = phase.operations.iter().find_map(|operation| match operation {
            Operation::Gate { gate, up, output, activation } if *output == units => {
                Some((*gate, *up, *activation))
            }
            _ => None,
        });
        let (gate, up, activation) = gates?;
        let (gate, up) = (made(phase, program, gate)?, made(phase, program, up)?);
        if gate.0.input != up.0.input || target.width() != 1 {
            return None;
        }
        let input = gate.0.input;
        let mut linears = phase.operations.iter().filter_map(Operation::linear);
        let reader_bias = linears.find(|linear| linear.weight == target.reader)?.bias.clone();
        Some(Self {
            input,
            gate: Projection::of(gate),
            up: Projection::of(up),
            activation,
            reader_bias,
        })
    }

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
    fn of((linear, first): (&Linear, usize)) -> Self {
        let Linear { weight, bias, columns, .. } = linear;
        Self { tensor: weight.clone(), bias: bias.clone(), first, columns: *columns }
    }
}

/// The product that makes a tap, and the feature of it with which the tap begins.
fn made<'p>(phase: &'p Phase, program: &Program, tap: Tap) -> Option<(&'p Linear, usize)> {
    let linear = |tap: Tap| {
        let mut linears = phase.operations.iter().filter_map(Operation::linear);
        linears.find(|linear| linear.output == tap)
    };
    let dealt = phase.operations.iter().find_map(|operation| match operation {
        Operation::Split { input, outputs } => {
            let place = outputs.iter().position(|output| *output == tap)?;
            let before = outputs[..place].iter().map(|&output| program.width(output)).sum();
            Some((linear(*input)?, before))
        }
        _ => None,
    });
    dealt.or_else(|| Some((linear(tap)?, 0)))
}
