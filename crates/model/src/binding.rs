//! The tensors as the model that the config describes.
//!
//! Quantized matrices take the place of the dense ones that they stand for; what is then missing or
//! of another shape would be missing for a loader, too. vLLM does not look for it.

use crate::artifact::{Artifact, WEIGHT, part_of};
use crate::findings::Findings;
use crate::modules::Matrices;
use crate::wrapped;
use llmopt_arch::{BindError, Model};
use llmopt_tensor::{Dtype, TensorMeta};
use std::collections::BTreeMap;

/// Binds the artifact; `None` if that is not possible, which is then among the faults.
pub fn check(
    artifact: &Artifact,
    matrices: &Matrices<'_>,
    findings: &mut Findings,
) -> Option<Model> {
    match Model::bind(artifact.config.as_ref(), &dense_tensors(artifact, matrices)) {
        Ok(model) => {
            findings.checked("tensors of the model", model.tensors().len());
            Some(model)
        }
        Err(error) => {
            let error = wrapped::explained(error, &artifact.source);
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

/// The kind of the fault, and what it is about.
fn about(error: &BindError) -> (&'static str, String) {
    let code = match error {
        BindError::Missing { .. } | BindError::ScaleMissing { .. } => "missing",
        BindError::Surplus { .. } => "surplus",
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
