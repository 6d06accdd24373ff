//! What a model weighs, and what its own report says of its tensors.

use crate::evaluation::provenance::Record;
use llmopt_arch::Role;
use llmopt_model::{Variant, is_linear};
use serde::Serialize;
use std::collections::BTreeMap;

/// A model, as its headers show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelFacts {
    /// The name of its folder or file.
    pub name: String,
    /// Its family.
    pub family: String,
    /// Weights, those that are quantized counted as what they stand for.
    pub parameters: u64,
    /// Its size: bytes of its weight files, headers included.
    pub bytes: u64,
    /// Bits of these per weight.
    pub bits_per_weight: f64,
    /// Bits per weight of the linears alone, scales and zero points included; none without linears.
    pub linear_bits_per_weight: Option<f64>,
    /// The schemes of its quantized matrices, most common first.
    pub schemes: Vec<String>,
}

/// Weights that are for the same thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassSize {
    /// What they are for: `linear`, `embedding`, ...
    pub class: String,
    /// Weights in the artifact.
    pub parameters: u64,
    /// Bytes in the reference.
    pub bytes_before: Option<u64>,
    /// Bytes in the artifact.
    pub bytes_after: u64,
}

/// A quantized matrix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorFacts {
    /// Its name.
    pub name: String,
    /// The layer that it is in.
    pub layer: Option<usize>,
    /// How it is quantized.
    pub scheme: String,
    /// Weights.
    pub parameters: u64,
    /// Bytes that hold them.
    pub bytes: u64,
    /// What its weights lost, `|W - Q| / |W|`, if the artifact's report says so.
    pub relative_error: Option<f64>,
    /// What rounding did to its outputs, relative to them, if the artifact's report says so.
    pub output_error: Option<f64>,
}

impl ModelFacts {
    pub(crate) fn of(variant: &Variant) -> Self {
        let bytes: u64 = variant.source().shards().iter().map(|shard| shard.bytes).sum();
        let parameters = parameters(variant);
        let family = variant.model().family().map(|family| family.name().to_owned());
        Self {
            name: variant.name(),
            family: family.unwrap_or_default(),
            parameters,
            bytes,
            bits_per_weight: bytes as f64 * 8.0 / parameters.max(1) as f64,
            linear_bits_per_weight: linear_bits(variant),
            schemes: schemes(variant),
        }
    }
}

/// Weights of a model, those that are quantized counted as what they stand for.
pub(super) fn parameters(variant: &Variant) -> u64 {
    variant.model().parameters_by_role().values().sum()
}

fn linear_bits(variant: &Variant) -> Option<f64> {
    let linears = || variant.model().tensors().iter().filter(|tensor| is_linear(tensor.role));
    let bytes: u64 = linears().map(|tensor| variant.bytes_of(&tensor.name)).sum();
    let weights: u64 = linears().map(|tensor| tensor.meta.elements()).sum();
    (weights > 0).then(|| bytes as f64 * 8.0 / weights as f64)
}

fn schemes(variant: &Variant) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for tensor in variant.model().tensors() {
        if let Some(scheme) = variant.scheme_of(&tensor.name) {
            *counts.entry(scheme.to_string()).or_default() += 1;
        }
    }
    let mut schemes: Vec<(String, usize)> = counts.into_iter().collect();
    schemes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    schemes.into_iter().map(|(scheme, _)| scheme).collect()
}

/// What the weights of each role weigh.
pub(super) fn classes(artifact: &Variant, reference: Option<&Variant>) -> Vec<ClassSize> {
    let after = bytes_by_role(artifact);
    let before = reference.map(bytes_by_role);
    let parameters = artifact.model().parameters_by_role();
    let class = |(&role, &parameters): (&Role, &u64)| ClassSize {
        class: role.name().to_owned(),
        parameters,
        bytes_before: before.as_ref().map(|before| before.get(&role).copied().unwrap_or(0)),
        bytes_after: after.get(&role).copied().unwrap_or(0),
    };
    parameters.iter().map(class).collect()
}

fn bytes_by_role(variant: &Variant) -> BTreeMap<Role, u64> {
    let mut bytes = BTreeMap::new();
    for tensor in variant.model().tensors() {
        *bytes.entry(tensor.role).or_default() += variant.bytes_of(&tensor.name);
    }
    bytes
}

/// Every quantized matrix of the artifact.
pub(super) fn tensors(artifact: &Variant, record: &Record) -> Vec<TensorFacts> {
    let facts = |tensor: &llmopt_arch::BoundTensor| {
        let scheme = artifact.scheme_of(&tensor.name)?;
        let loss = record.losses.get(&tensor.name).copied().unwrap_or_default();
        Some(TensorFacts {
            name: tensor.name.clone(),
            layer: tensor.layer,
            scheme: scheme.to_string(),
            parameters: tensor.meta.elements(),
            bytes: artifact.bytes_of(&tensor.name),
            relative_error: loss.weights,
            output_error: loss.outputs,
        })
    };
    artifact.model().tensors().iter().filter_map(facts).collect()
}
