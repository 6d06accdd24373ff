//! The tensors as the model that the config describes.
//!
//! Quantized matrices take the place of the dense ones that they stand for; what is then missing or
//! of another shape would be missing for a loader, too. vLLM does not look for it.

use super::artifact::{Artifact, WEIGHT, part_of};
use super::findings::Findings;
use super::modules::Matrices;
use super::record::Record;
use llmopt_arch::{BindError, Model, Role};
use llmopt_tensor::{Dtype, TensorMeta};
use std::collections::{BTreeMap, BTreeSet};

/// Binds the artifact; `None` if that is not possible, which is then among the faults.
pub(super) fn check(
    artifact: &Artifact,
    matrices: &Matrices<'_>,
    record: Option<&Record>,
    findings: &mut Findings,
) -> Option<Model> {
    match Model::bind(artifact.config.as_ref(), &dense_tensors(artifact, matrices)) {
        Ok(model) => {
            check_layers(&model, artifact, record, findings);
            check_unknown(&model, artifact, record, findings);
            findings.checked("tensors of the model", model.tensors().len());
            Some(model)
        }
        Err(error) => {
            // What is wrong with a module's parts was said already.
            let module = error.tensor().and_then(|tensor| Some(part_of(tensor)?.0));
            if !module.is_some_and(|module| matrices.faulty.contains_key(module)) {
                let (code, subject) = about(&error);
                findings.fault(code, &subject, message(&error));
            }
            None
        }
    }
}

/// The tensors of the dense model that the artifact stands for.
fn dense_tensors(artifact: &Artifact, matrices: &Matrices<'_>) -> BTreeMap<String, TensorMeta> {
    let entries = artifact.source.shards().iter().flat_map(|shard| shard.header.tensors());
    let is_part =
        |name: &str| part_of(name).is_some_and(|(module, _)| artifact.is_quantized_module(module));
    let plain = entries.filter(|entry| !is_part(&entry.name));
    let mut tensors: BTreeMap<String, TensorMeta> =
        plain.map(|entry| (entry.name.clone(), entry.meta.clone())).collect();
    let sound = matrices
        .sound
        .iter()
        .map(|matrix| (matrix.module, Some([matrix.rows, matrix.columns]), matrix.scale_dtype));
    let faulty = matrices.faulty.iter();
    let faulty = faulty.map(|(&module, faulty)| (module, faulty.shape, Dtype::BF16));
    for (module, shape, dtype) in sound.chain(faulty) {
        if let Some(meta) = shape.and_then(|shape| TensorMeta::new(dtype, shape).ok()) {
            tensors.insert(format!("{module}.{WEIGHT}"), meta);
        }
    }
    tensors
}

/// Layers beyond those that the config counts. Loaders skip some of them in some models, so those
/// that the source had, dense, are let through.
fn check_layers(
    model: &Model,
    artifact: &Artifact,
    record: Option<&Record>,
    findings: &mut Findings,
) {
    let mut layers: BTreeSet<usize> = BTreeSet::new();
    for tensor in model.tensors().iter().filter(|tensor| tensor.role == Role::Other) {
        let layer = tensor.layer.filter(|&layer| layer >= model.layers());
        if !is_as_in_source(&tensor.name, artifact, record) {
            layers.extend(layer);
        }
    }
    if model.family().is_some()
        && let (Some(first), Some(last)) = (layers.first(), layers.last())
    {
        let message = format!(
            "the config counts {} layers, but there are tensors of layers {first} to {last}: \
             vLLM refuses them, Transformers leaves them out",
            model.layers()
        );
        findings.fault("layers", "num_hidden_layers", message);
    }
}

/// Tensors that a family does not have.
fn check_unknown(
    model: &Model,
    artifact: &Artifact,
    record: Option<&Record>,
    findings: &mut Findings,
) {
    let Some(family) = model.family() else { return };
    let is_counted = |layer: Option<usize>| layer.is_none_or(|layer| layer < model.layers());
    for tensor in model.tensors() {
        if tensor.role == Role::Other
            && is_counted(tensor.layer)
            && !is_cache_scale(&tensor.name)
            && !is_as_in_source(&tensor.name, artifact, record)
        {
            let message = format!(
                "`{}` has no such tensor: vLLM refuses it, Transformers leaves it out",
                family.name()
            );
            findings.fault("unknown", &tensor.name, message);
        }
    }
}

/// Whether the record says that a tensor was in the source, and it is not quantized.
fn is_as_in_source(tensor: &str, artifact: &Artifact, record: Option<&Record>) -> bool {
    artifact.entry(tensor).is_some() && record.is_some_and(|record| record.keeps(tensor))
}

/// Scales of the key-value cache, which vLLM knows in these spellings.
fn is_cache_scale(tensor: &str) -> bool {
    const ENDINGS: [&str; 4] = ["k_scale", "v_scale", "q_scale", "kv_scale"];
    tensor.rsplit('.').next().is_some_and(|ending| ENDINGS.contains(&ending))
}

/// The kind of the fault, and what it is about.
fn about(error: &BindError) -> (&'static str, String) {
    let code = match error {
        BindError::Missing { .. } | BindError::ScaleMissing { .. } => "missing",
        BindError::Shape { .. } | BindError::ScaleShape { .. } => "shape",
        _ => "model",
    };
    let subject = match error {
        BindError::Config { key, .. } | BindError::ConfigMissing { key, .. } => key.clone(),
        BindError::Variant { key, .. } => (*key).to_owned(),
        BindError::Refused { family, .. } => family.clone(),
        other => other.tensor().unwrap_or_default().to_owned(),
    };
    (code, subject)
}

fn message(error: &BindError) -> String {
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let breaks = match error {
        BindError::Missing { .. } => {
            ": vLLM does not notice in a quantized model and computes with whatever is in memory, \
             Transformers with random numbers"
        }
        _ => "",
    };
    format!("{error}{hint}{breaks}")
}
