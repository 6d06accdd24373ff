//! Quantized matrices of the same kind in all layers, and of all experts, taken together.

use llmopt_pipeline::{Evaluation, JudgedOn, TensorFacts, kind_label, kind_pattern};
use std::collections::BTreeMap;

/// Which error of a matrix is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// That of its outputs, where inputs were observed.
    Outputs(JudgedOn),
    /// That of its weights.
    Weights,
}

impl Measure {
    /// The one that says most of what the artifact's report has.
    pub(super) fn of(evaluation: &Evaluation) -> Self {
        let record = evaluation.record.as_ref();
        record.and_then(|record| record.outputs_on).map_or(Self::Weights, Self::Outputs)
    }

    /// A matrix's error, if there is one of this kind.
    pub(super) fn error(self, tensor: &TensorFacts) -> Option<f64> {
        match self {
            Self::Outputs(_) => tensor.output_error,
            Self::Weights => tensor.relative_error,
        }
    }

    /// `error of outputs`, `error of weights`
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Outputs(_) => "error of outputs",
            Self::Weights => "error of weights",
        }
    }

    /// What it is, and what it is not.
    pub(super) fn explained(self) -> &'static str {
        match self {
            Self::Outputs(JudgedOn::HeldOut) => {
                "The error of outputs is |QX − WX| / |WX|, on calibration windows that nothing was \
                 fitted to; with qep it is counted from the weights that make up for earlier blocks."
            }
            Self::Outputs(JudgedOn::Calibration) => {
                "The error of outputs is |QX − WX| / |WX|, on the windows that the matrices were \
                 fitted to; on others it is greater. With qep it is counted from the weights that make \
                 up for earlier blocks."
            }
            Self::Weights => {
                "The error of weights is |W − Q| / |W|. No inputs were observed: what it does to \
                 outputs is not known matrix by matrix."
            }
        }
    }
}

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
pub(super) fn kinds(tensors: &[TensorFacts], measure: Measure) -> Vec<Kind<'_>> {
    let mut order: Vec<String> = Vec::new();
    let mut members: BTreeMap<String, Vec<&TensorFacts>> = BTreeMap::new();
    for tensor in tensors {
        let pattern = kind_pattern(&tensor.name);
        if !members.contains_key(&pattern) {
            order.push(pattern.clone());
        }
        members.entry(pattern).or_default().push(tensor);
    }
    order.iter().map(|pattern| kind(pattern, &members[pattern], measure)).collect()
}

fn kind<'a>(pattern: &str, tensors: &[&'a TensorFacts], measure: Measure) -> Kind<'a> {
    let mut schemes: Vec<&str> = Vec::new();
    let mut by_layer: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for tensor in tensors {
        if !schemes.contains(&tensor.scheme.as_str()) {
            schemes.push(&tensor.scheme);
        }
        if let (Some(layer), Some(error)) = (tensor.layer, measure.error(tensor)) {
            by_layer.entry(layer).or_default().push(error);
        }
    }
    let errors: Vec<(&str, f64)> = tensors
        .iter()
        .filter_map(|tensor| Some((tensor.name.as_str(), measure.error(tensor)?)))
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
            output_error: error.map(|error| error / 2.0).filter(|error| *error < 0.2),
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
        let of = |measure| kinds(&tensors, measure);
        let kinds = of(Measure::Weights);
        let labels: Vec<&str> = kinds.iter().map(|kind| kind.label.as_str()).collect();
        assert_eq!(labels, ["mlp.experts.*.up_proj", "lm_head"]);
        let experts = &kinds[0];
        assert_eq!(experts.schemes, ["w4a16", "w8a16"]);
        assert_eq!((experts.tensors, experts.bytes), (3, 150));
        assert!((experts.error.unwrap() - 0.3).abs() < 1e-12);
        assert_eq!(experts.worst, Some((tensors[2].name.as_str(), 0.5)));
        assert_eq!(experts.by_layer.values().copied().collect::<Vec<_>>(), [0.2, 0.5]);
        assert_eq!((kinds[1].error, kinds[1].worst), (None, None));
        // One matrix has no error of its outputs.
        let outputs = of(Measure::Outputs(JudgedOn::HeldOut));
        assert_eq!((outputs[0].tensors, outputs[0].worst), (3, Some((&*tensors[1].name, 0.15))));
    }
}
