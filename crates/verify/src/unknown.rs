//! Tensors that the family of an artifact does not have, for runtimes that stop at them.

use crate::record::Record;
use crate::rules::Rules;
use llmopt_arch::{BoundTensor, Model};
use llmopt_codec::stops_at_unknown;
use llmopt_model::Findings;
use std::collections::BTreeSet;

/// Names what a runtime stops at. What `let_through` says to be as it was in the source passes: a run that
/// writes an artifact has said so already, and has not made it so.
pub(crate) fn check(
    model: &Model,
    let_through: Option<&Record>,
    rules: Rules<'_>,
    findings: &mut Findings,
) {
    let Some(family) = model.family() else { return };
    for &runtime in rules.runtimes {
        let is_kept = |tensor: &str| let_through.is_some_and(|record| record.keeps(tensor));
        let stops = |tensor: &&BoundTensor| {
            stops_at_unknown(runtime, &tensor.name) && !is_kept(&tensor.name)
        };
        let (beyond, unknown): (Vec<&BoundTensor>, Vec<_>) =
            model.unknown().filter(stops).partition(|tensor| model.is_beyond(tensor));
        let layers: BTreeSet<usize> = beyond.iter().filter_map(|tensor| tensor.layer).collect();
        if let (Some(first), Some(last)) = (layers.first(), layers.last()) {
            let message = format!(
                "the config counts {} layers, but there are tensors of layers {first} to {last}: \
                 {runtime} refuses them, Transformers leaves them out",
                model.layers()
            );
            findings.fault("layers", "num_hidden_layers", message);
        }
        for tensor in unknown {
            let message = format!(
                "`{}` has no such tensor: {runtime} refuses it, Transformers leaves it out",
                family.name()
            );
            findings.fault("unknown", &tensor.name, message);
        }
    }
}
