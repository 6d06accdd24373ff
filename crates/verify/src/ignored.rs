//! What the config says of each module against what is stored of it, under every name that a loader
//! may know the module by.

use llmopt_arch::{BoundTensor, LinearWeight, Model, Role};
use llmopt_model::{Artifact, Findings, Matrices, Matrix};
use std::collections::{BTreeMap, BTreeSet};

/// Checks dense and quantized modules.
pub(crate) fn check(
    artifact: &Artifact,
    model: &Model,
    matrices: &Matrices<'_>,
    findings: &mut Findings,
) {
    let Some(config) = artifact.scheme() else { return };
    let dense = dense_names(artifact, model);
    for (name, module) in &dense {
        if config.scheme_of(name).is_some() {
            findings.fault("ignore", module, dense_though_targeted(name, module));
        }
    }
    for &Matrix { module, group, .. } in &matrices.sound {
        let aliases = model.aliases(module);
        let other = aliases.iter().find(|alias| config.scheme_of(alias) != Some(group));
        if let Some(alias) = other {
            let message = format!(
                "it is in `{}` of the config, but not as `{alias}`, which loaders may call it",
                group.name
            );
            findings.fault("ignore", module, message);
        }
    }
    findings.checked("dense linears held against the config", dense.len());
}

/// Names of modules that a loader may see as a linear, each with the module as it is stored.
fn dense_names(artifact: &Artifact, model: &Model) -> BTreeMap<String, String> {
    let is_dense = |module: &str| !artifact.is_quantized_module(module);
    let linears = model.linear_weights().iter().map(|linear: &LinearWeight| &linear.module);
    let modules: BTreeSet<&String> = linears.chain(model.dense_linears()).collect();
    let mut names = BTreeMap::new();
    for module in modules.into_iter().filter(|module| is_dense(module)) {
        let tensor = model.get(&format!("{module}.weight"));
        if tensor.is_some_and(|tensor| tensor.role == Role::Embedding) {
            continue;
        }
        let aliases = model.aliases(module);
        // An alias of what is stored quantized is listed as dense only for its other name.
        if !aliases.iter().all(|alias| is_dense(alias)) {
            continue;
        }
        let in_tower = in_tower(tensor, model, module);
        for name in aliases.into_iter().chain(in_tower) {
            names.entry(name).or_insert_with(|| module.clone());
        }
    }
    names
}

/// Transformers puts the towers of multimodal models below `model`, wherever they are on disk.
fn in_tower(tensor: Option<&BoundTensor>, model: &Model, module: &str) -> Option<String> {
    let is_tower = tensor.is_some_and(|tensor| tensor.role == Role::Tower);
    (is_tower && model.family().is_some() && !module.starts_with("model."))
        .then(|| format!("model.{module}"))
}

fn dense_though_targeted(name: &str, module: &str) -> String {
    let known = match name == module {
        true => String::new(),
        false => format!(" as `{name}`, which loaders may call it,"),
    };
    format!(
        "it is dense, but{known} it is a target and not in `ignore`: Transformers and vLLM \
         look for its quantized parts and compute with whatever is in memory"
    )
}
