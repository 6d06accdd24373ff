//! Quantized matrices of the same kind in all layers, and of all experts, taken together.

use llmopt_pipeline::{TensorFacts, kind_label, kind_pattern};
use std::collections::BTreeMap;

/// Matrices whose names differ in numbers alone.
pub(super) struct Kind<'a> {
    /// `self_attn.q_proj`
    pub(super) label: String,
    pub(super) schemes: Vec<&'a str>,
    pub(super) tensors: usize,
    pub(super) bytes: u64,
    /// The mean over matrices.
    pub(super) error: Option<f64>,
    /// The matrix with the greatest error.
    pub(super) worst: Option<(&'a str, f64)>,
    /// The mean over the matrices of each layer.
    pub(super) by_layer: BTreeMap<usize, f64>,
}

/// The kinds, in the order in which they first come.
pub(super) fn kinds(tensors: &[TensorFacts]) -> Vec<Kind<'_>> {
    let mut order: Vec<String> = Vec::new();
    let mut members: BTreeMap<String, Vec<&TensorFacts>> = BTreeMap::new();
    for tensor in tensors {
        let pattern = kind_pattern(&tensor.name);
        if !members.contains_key(&pattern) {
            order.push(pattern.clone());
        }
        members.entry(pattern).or_default().push(tensor);
    }
    order.iter().map(|pattern| kind(pattern, &members[pattern])).collect()
}

fn kind<'a>(pattern: &str, tensors: &[&'a TensorFacts]) -> Kind<'a> {
    let mut schemes: Vec<&str> = Vec::new();
    let mut by_layer: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for tensor in tensors {
        if !schemes.contains(&tensor.scheme.as_str()) {
            schemes.push(&tensor.scheme);
        }
        if let (Some(layer), Some(error)) = (tensor.layer, tensor.relative_error) {
            by_layer.entry(layer).or_default().push(error);
        }
    }
    let errors: Vec<(&str, f64)> = tensors
        .iter()
        .filter_map(|tensor| Some((tensor.name.as_str(), tensor.relative_error?)))
        .collect();
    Kind {
        label: kind_label(pattern).to_owned(),
        schemes,
        tensors: tensors.len(),
        bytes: tensors.iter().map(|tensor| tensor.bytes).sum(),
        error: mean(errors.iter().map(|(_, error)| *error)),
        // The first of equals: `max_by` takes the last.
        worst: errors.iter().rev().copied().max_by(|a, b| a.1.total_cmp(&b.1)),
        by_layer: by_layer
            .into_iter()
            .filter_map(|(layer, errors)| Some((layer, mean(errors.into_iter())?)))
            .collect(),
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, layer: Option<usize>, scheme: &str, error: Option<f64>) -> TensorFacts {
        TensorFacts {
            name: name.to_owned(),
            layer,
            scheme: scheme.to_owned(),
            parameters: 100,
            bytes: 50,
            relative_error: error,
        }
    }

    #[test]
    fn layers_and_experts_of_a_matrix_are_one_kind() {
        let tensors = [
            tensor("model.layers.0.mlp.experts.0.up_proj.weight", Some(0), "w4a16", Some(0.1)),
            tensor("model.layers.0.mlp.experts.1.up_proj.weight", Some(0), "w4a16", Some(0.3)),
            tensor("model.layers.1.mlp.experts.0.up_proj.weight", Some(1), "w8a16", Some(0.5)),
            tensor("lm_head.weight", None, "w8a16", None),
        ];
        let kinds = kinds(&tensors);
        let labels: Vec<&str> = kinds.iter().map(|kind| kind.label.as_str()).collect();
        assert_eq!(labels, ["mlp.experts.*.up_proj", "lm_head"]);
        let experts = &kinds[0];
        assert_eq!(experts.schemes, ["w4a16", "w8a16"]);
        assert_eq!((experts.tensors, experts.bytes), (3, 150));
        assert!((experts.error.unwrap() - 0.3).abs() < 1e-12);
        assert_eq!(experts.worst, Some((tensors[2].name.as_str(), 0.5)));
        assert_eq!(experts.by_layer.values().copied().collect::<Vec<_>>(), [0.2, 0.5]);
        assert_eq!((kinds[1].error, kinds[1].worst), (None, None));
    }
}
