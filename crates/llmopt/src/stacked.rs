//! Experts that stay dense, in a line of `inspect`, of a plan and of what a run says at its end.

use crate::units;
use llmopt_pipeline::StackedExperts;

/// How much of the model's `parameters` stays dense because experts are stacked, and why.
pub(crate) fn fact(
    stacked: Option<&StackedExperts>,
    parameters: u64,
) -> Option<(&'static str, String)> {
    let stacked = stacked?;
    let told = format!(
        "{} parameters ({} of the model) in {} such as `{}`: {}",
        units::count(stacked.parameters),
        units::share(stacked.parameters, parameters),
        units::counted(stacked.tensors, "tensor"),
        stacked.first,
        stacked.why
    );
    Some(("stay dense", told))
}
