//! What a plan means to write, as it is verified before it gets its name.

use crate::{Error, Plan};
use llmopt_checkpoint::HeaderEntry;
use llmopt_rewrite::{OutputTensor, Treatment};
use llmopt_run::Cancel;
use llmopt_verify::{Becomes, Expected, ExpectedTensor, before_publishing};
use std::path::Path;

/// Verifies what was written to `folder`.
///
/// # Errors
/// [`Error::Unsound`] with everything that is wrong.
pub(crate) fn verify_written(plan: &Plan, folder: &Path, cancel: &Cancel) -> Result<(), Error> {
    let path = match plan.artifact.shards.first() {
        Some(shard) if plan.bare => folder.join(&shard.name),
        _ => folder.to_owned(),
    };
    let expected = Expected {
        model: &plan.model,
        output: plan.output(),
        tensors: Box::new(plan.places().map(expected)),
        files: plan
            .artifact
            .shards
            .iter()
            .map(|shard| (shard.name.as_str(), shard.bytes))
            .collect(),
        runtimes: &plan.recipe.runtimes,
        tensor_parallel: plan.recipe.tensor_parallel,
    };
    before_publishing(&path, expected, cancel)
}

fn expected<'a>((entry, place): (&'a HeaderEntry, &'a OutputTensor)) -> ExpectedTensor<'a> {
    ExpectedTensor {
        name: &entry.name,
        shape: entry.meta.shape(),
        told: &place.treatment,
        becomes: match place.treatment {
            Treatment::Quantize(scheme) => Becomes::Quantized(scheme),
            Treatment::Omit { .. } => Becomes::Nothing,
            _ => {
                let part = place.parts(entry).unwrap_or_default().into_iter().next();
                part.map_or(Becomes::Nothing, |part| Becomes::Dense(part.meta))
            }
        },
        parts: place.begins.len(),
    }
}
