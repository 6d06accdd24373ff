//! Where the units of a gated layer come from.

use crate::pruning::gated::{GatedUnits, Projection};
use crate::pruning::group::PruneGroup;
use llmopt_arch::program::{Linear, Operation, Phase, Program, Tap};

/// The projections behind the units that `phase` multiplies with the reader of `group`: none where nothing says
/// what the reader should give, or units are no products behind a gate.
pub(super) fn gated_units(
    phase: &Phase,
    program: &Program,
    group: &PruneGroup,
) -> Option<GatedUnits> {
    let units = group.units_in(phase).filter(|_| group.adds_to_hidden(phase))?;
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
    if gate.0.input != up.0.input || group.width() != 1 {
        return None;
    }
    let input = gate.0.input;
    let mut linears = phase.operations.iter().filter_map(Operation::linear);
    let reader_bias = linears.find(|linear| linear.weight == group.reader)?.bias.clone();
    Some(GatedUnits {
        input,
        gate: Projection::of(gate),
        up: Projection::of(up),
        activation,
        reader_bias,
    })
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
