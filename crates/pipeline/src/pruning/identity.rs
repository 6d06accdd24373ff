//! What makes a run of pruning the same run.

use crate::pruning::plan::PrunePlan;
use llmopt_checkpoint::sha256;
use llmopt_run::Error;

/// What must be equal for a run to go on from a journal: version, recipe, data, kernel, and the input's
/// names, sizes, headers and times of change.
pub(super) fn identity(plan: &PrunePlan) -> Result<String, Error> {
    let told = |error: serde_json::Error| Error::Refused(error.to_string());
    let mut text = format!("llmopt {} prune\n", env!("CARGO_PKG_VERSION"));
    text += &serde_json::to_string(&plan.recipe).map_err(told)?;
    text += &serde_json::to_string(&plan.facts()).map_err(told)?;
    text += plan.engine.gemm().name();
    text += &format!("\nfitted to {} windows", plan.fits);
    text += &plan.cut.artifact.identity(None)?;
    text += &format!("\nconfig {}", sha256(&plan.cut.config));
    Ok(sha256(text.as_bytes()))
}
