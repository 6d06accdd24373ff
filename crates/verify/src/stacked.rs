//! Dense experts, stacked in one tensor, beside quantized matrices: whether runtimes leave them alone.

use crate::rules::Rules;
use llmopt_arch::Model;
use llmopt_codec::check_stacked;
use llmopt_model::{Artifact, Findings};

/// Checks every stack of the model.
pub(crate) fn check(artifact: &Artifact, model: &Model, rules: Rules<'_>, findings: &mut Findings) {
    let Some(config) = artifact.scheme() else { return };
    let modules = model.stacked_modules();
    let refused = |&runtime| {
        let first = modules.first()?;
        check_stacked(runtime, model.model_type(), first)
    };
    for refusal in rules.runtimes.iter().filter_map(refused) {
        let message = format!("{}: {}", refusal.what, refusal.why);
        findings.fault("runtime", refusal.runtime.name(), message);
    }
    if rules.runtimes.iter().any(|runtime| runtime.merges()) {
        for module in &modules {
            // What vLLM asks for to know how the experts of a layer are quantized.
            let first = format!("{module}.0.gate_proj");
            if let Ok(Some(group)) = config.fused_scheme_of(&first, &[]) {
                let message = format!(
                    "it is a stack of dense experts, but vLLM looks for `{first}`, which is a target \
                     of `{}` and not in `ignore`: it takes the stack for quantized",
                    group.name
                );
                findings.fault("ignore", module, message);
            }
        }
    }
    findings.checked("stacks of experts held against the config", modules.len());
}
