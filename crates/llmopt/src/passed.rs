//! What passes through a run as it is although one might think otherwise, in a line of `inspect`, of a
//! plan and of what a run says at its end.

use crate::units;
use llmopt_pipeline::{FileFacts, StackedExperts, UnknownTensors};
use std::collections::BTreeMap;

/// A line: its name, and what it says.
type Fact = (&'static str, String);

/// How much of the model's `parameters` stays dense because experts are stacked, and why.
pub(crate) fn stacked(stacked: Option<&StackedExperts>, parameters: u64) -> Option<Fact> {
    let stacked = stacked?;
    let text = format!(
        "{} parameters ({} of the model) in {} such as `{}`: {}",
        units::count(stacked.parameters),
        units::share(stacked.parameters, parameters),
        units::counted(stacked.tensors, "tensor"),
        stacked.first,
        stacked.why
    );
    Some(("stay dense", text))
}

/// What the model has that its family does not, and what loaders make of it.
pub(crate) fn unknown(unknown: Option<&UnknownTensors>) -> Option<Fact> {
    let unknown = unknown?;
    let stop = match unknown.stop.as_slice() {
        [] => "loaders leave them out".to_owned(),
        names => format!(
            "{} stops at them, in this model as in what is made of it; others leave them out",
            names.join(" and ")
        ),
    };
    let text = format!(
        "{} with {} parameters that the family does not have, such as `{}`, as they are: {stop}",
        units::counted(unknown.tensors, "tensor"),
        units::count(unknown.parameters),
        unknown.first
    );
    Some(("pass through", text))
}

/// That a model card was copied, which describes the original.
pub(crate) fn model_card(outputs: &BTreeMap<String, FileFacts>) -> Option<Fact> {
    const CARD: &str = "README.md";
    let text = "is the original's model card, with its benchmarks: `llmopt card --write` adds to it what this \
                artifact is and lost, before it is published";
    outputs.contains_key(CARD).then(|| ("note", format!("`{CARD}` {text}")))
}
