//! The rules of the runtimes asked for: what their kernels take, and what they merge.

use crate::groups::Groups;
use llmopt_arch::{LinearWeight, Model, Role};
use llmopt_codec::{Refusal, Runtime, check as refusals, check_embedding};
use llmopt_model::{Artifact, Findings, Matrices};
use llmopt_scheme::Scheme;
use std::collections::{BTreeMap, BTreeSet};

/// Whose rules hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) runtimes: &'a [Runtime],
    pub(crate) tensor_parallel: usize,
}

/// Checks every quantized matrix of the model.
pub(crate) fn check(
    artifact: &Artifact,
    model: &Model,
    matrices: &Matrices<'_>,
    rules: Rules<'_>,
    findings: &mut Findings,
) {
    let linears: Vec<&LinearWeight> =
        model.linear_weights().iter().chain(model.optional_linear_weights()).collect();
    let groups = Groups::of(model);
    let mut broken: BTreeMap<(Runtime, String), Vec<Refusal>> = BTreeMap::new();
    for &linear in &linears {
        let Some(scheme) = matrices.scheme_of(&linear.module) else { continue };
        for &runtime in rules.runtimes {
            let facts = groups.facts(linear, rules.tensor_parallel);
            let embedding = (linear.role == Role::Embedding)
                .then(|| check_embedding(runtime, &scheme, &linear.module, model.model_type()));
            let embedding = embedding.flatten();
            for refusal in refusals(runtime, &scheme, &facts).into_iter().chain(embedding) {
                broken.entry((runtime, refusal.why.clone())).or_default().push(refusal);
            }
        }
    }
    for ((runtime, _), refusals) in &broken {
        findings.fault("runtime", runtime.name(), render(refusals));
    }
    if rules.runtimes.iter().any(|runtime| runtime.merges()) {
        check_merged(artifact, &linears, matrices, findings);
    }
    findings.checked("runtimes whose rules were checked", rules.runtimes.len());
}

/// One rule with everything that breaks it.
fn render(refusals: &[Refusal]) -> String {
    let subjects: BTreeSet<&str> = refusals.iter().map(|refusal| refusal.what.as_str()).collect();
    let first = subjects.first().copied().unwrap_or_default();
    let more = match subjects.len() {
        0 | 1 => String::new(),
        several => format!(" (and {} more)", several - 1),
    };
    let why = refusals.first().map(|refusal| refusal.why.as_str()).unwrap_or_default();
    let hint = refusals.iter().find_map(|refusal| refusal.hint.as_deref());
    let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{first}{more}: {why}{hint}")
}

/// Holds the members of each merged matrix against each other.
fn check_merged(
    artifact: &Artifact,
    linears: &[&LinearWeight],
    matrices: &Matrices<'_>,
    findings: &mut Findings,
) {
    let mut merged: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for linear in linears {
        if let Some(module) = linear.fused.as_deref() {
            merged.entry(module).or_default().push(&linear.module);
        }
    }
    for (module, members) in &merged {
        if let Some(message) = disagreement(artifact, module, members, matrices) {
            findings.fault("fused", module, message);
        }
    }
    findings.checked("merged matrices", merged.len());
}

fn disagreement(
    artifact: &Artifact,
    module: &str,
    members: &[&str],
    matrices: &Matrices<'_>,
) -> Option<String> {
    let scheme = |member: &str| matrices.scheme_of(member);
    let first = members.first()?;
    if let Some(other) = members.iter().find(|member| scheme(member) != scheme(first)) {
        let render =
            |member| scheme(member).map_or("dense".to_owned(), |scheme| scheme.to_string());
        // vLLM 0.33 refuses a mixture with dense parts; of several schemes it takes the first part's, and
        // of experts the first one's, without a word.
        let consequence = match (scheme(first), scheme(other)) {
            (Some(_), Some(_)) => "take the first one's scheme for both without a word",
            _ => "refuse the model",
        };
        return Some(format!(
            "`{first}` is {}, but `{other}` is {}: vLLM and SGLang load them as one matrix and \
             {consequence}",
            render(first),
            render(other)
        ));
    }
    match artifact.scheme()?.fused_scheme_of(module, members) {
        Err(conflict) => {
            let consequence = match conflict.ignored {
                true => "refuse the model",
                false => "take the first one's group for the whole without a word",
            };
            Some(format!("{conflict}: vLLM and SGLang {consequence}"))
        }
        Ok(group) if group.map(|group| group.scheme) != scheme(first) => {
            let render = |scheme: Option<_>| {
                scheme.map_or("dense".to_owned(), |scheme: Scheme| scheme.to_string())
            };
            Some(format!(
                "it is stored as {}, but vLLM takes it for {} by the config",
                render(scheme(first)),
                render(group.map(|group| group.scheme))
            ))
        }
        Ok(_) => None,
    }
}
