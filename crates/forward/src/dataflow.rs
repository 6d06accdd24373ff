//! What an operation takes and makes.

use llmopt_arch::program::{Operation, Tap};

/// The taps of one operation.
pub(crate) struct Flow {
    /// Read, or changed in place: they must be there.
    pub(crate) takes: Vec<Tap>,
    /// Written or changed in place: they are there afterwards.
    pub(crate) makes: Vec<Tap>,
}

/// The taps of `operation`. A scatter's output is in `makes` alone, for it may begin as zeros.
pub(crate) fn flow(operation: &Operation) -> Flow {
    let flow = |takes: &[Tap], makes: &[Tap]| Flow { takes: takes.into(), makes: makes.into() };
    match operation {
        Operation::Norm { input, output, .. } | Operation::Route { input, output, .. } => {
            flow(&[*input], &[*output])
        }
        Operation::Linear(linear) => flow(&[linear.input], &[linear.output]),
        Operation::Split { input, outputs } => flow(&[*input], outputs),
        Operation::Rotate { taps, .. } => flow(taps, taps),
        Operation::Attend(a) => flow(&[a.query, a.key, a.value], &[a.output]),
        Operation::Gate { gate, up, output, .. } => flow(&[*gate, *up], &[*output]),
        Operation::Add { input, output, .. } => flow(&[*input, *output], &[*output]),
        Operation::Gather { input, routes, output, .. }
        | Operation::Scatter { input, routes, output, .. } => flow(&[*input, *routes], &[*output]),
    }
}

/// As messages call it.
pub(crate) fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Norm { .. } => "norm",
        Operation::Linear(_) => "linear",
        Operation::Split { .. } => "split",
        Operation::Rotate { .. } => "rotate",
        Operation::Attend(_) => "attend",
        Operation::Gate { .. } => "gate",
        Operation::Add { .. } => "add",
        Operation::Route { .. } => "route",
        Operation::Gather { .. } => "gather",
        Operation::Scatter { .. } => "scatter",
    }
}
