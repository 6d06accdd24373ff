//! Embedding and head, when the config says that they are one matrix.

use llmopt_arch::Model;
use llmopt_model::tied::have_same_values;
use llmopt_model::{Artifact, Findings, WEIGHT};
use llmopt_run::Error;

/// Checks that neither is quantized, and, unless `quick`, that a head that is there is the embedding.
pub(crate) fn check(
    artifact: &Artifact,
    model: &Model,
    quick: bool,
    findings: &mut Findings,
) -> Result<(), Error> {
    let Some((embedding, head)) = model.tied() else { return Ok(()) };
    findings.checked("tied pairs", 1);
    for tensor in [embedding, head] {
        let module = tensor.strip_suffix(&format!(".{WEIGHT}")).unwrap_or(tensor);
        if artifact.is_quantized_module(module) {
            let message = format!(
                "it is quantized, but `{embedding}` and `{head}` are tied: loaders expect one \
                 dense matrix for both"
            );
            findings.fault("tied", module, message);
            return Ok(());
        }
    }
    let (Some(embedding), Some(kept)) = (artifact.entry(embedding), artifact.entry(head)) else {
        return Ok(());
    };
    if !quick && !have_same_values(embedding, kept)? {
        let message = format!(
            "it differs from `{}`, but the config ties them: Transformers uses it, vLLM leaves \
             it out, and the two compute different models",
            embedding.1.name
        );
        findings.fault("tied", head, message);
    }
    Ok(())
}
