//! What stands in the way of pruning along an axis that a family has.

use super::{Axis, AxisError};
use crate::config::ConfigView;
use crate::resolve::script::{Norm, Step};
use crate::{BindError, Family, Model};

impl Model {
    /// Fails if what the axis touches could not all be changed, or could not be told to a loader.
    pub(super) fn check_axis(&self, axis: Axis, family: &'static Family) -> Result<(), AxisError> {
        self.check_dense(axis)?;
        self.check_family(axis, family)?;
        self.program().map_err(|source| AxisError::Program { axis, source })?;
        match axis {
            Axis::Ffn | Axis::Heads => self.check_spans(axis, family),
            Axis::Layers => self.check_lists(family),
        }
    }

    fn check_dense(&self, axis: Axis) -> Result<(), AxisError> {
        const KEY: &str = "quantization_config";
        let key = ConfigView(&self.config).get(KEY).map(|_| format!("`{KEY}` in `config.json`"));
        let scale = || self.block_scales.values().next().map(|scale| format!("`{}`", scale.tensor));
        match key.or_else(scale) {
            Some(place) => Err(AxisError::Quantized { axis, place }),
            None => Ok(()),
        }
    }

    /// What the family's file says against it.
    fn check_family(&self, axis: Axis, family: &'static Family) -> Result<(), AxisError> {
        let refused = family.axes.heads.as_ref().and_then(|heads| heads.refused.as_ref());
        if let Some(reason) = refused.filter(|_| axis == Axis::Heads) {
            return Err(AxisError::Runtime { axis, family: family.name(), reason });
        }
        if let Some(norm) = norm_over(axis, family) {
            return Err(AxisError::Norm { axis, family: family.name(), norm });
        }
        match &family.sparse {
            Some(sparse) if axis == Axis::Layers => {
                let key = &sparse.step;
                let step = ConfigView(&self.config).size(key);
                match step.map_err(|source| AxisError::Program { axis, source })? {
                    None | Some(1) => Ok(()),
                    Some(step) => Err(AxisError::Step { family: family.name(), key, step }),
                }
            }
            _ => Ok(()),
        }
    }

    fn check_spans(&self, axis: Axis, family: &'static Family) -> Result<(), AxisError> {
        let mut known = self.tensors.iter().filter(|t| self.templates.contains_key(&t.name));
        match known.find(|tensor| self.spans(tensor).is_none()) {
            Some(tensor) => {
                let tensor = tensor.name.clone();
                Err(AxisError::Uncut { axis, family: family.name(), tensor })
            }
            None => Ok(()),
        }
    }

    /// The forward pass looks into some lists only.
    fn check_lists(&self, family: &'static Family) -> Result<(), AxisError> {
        let config = ConfigView(&self.config);
        let is_wrong = |key: &&String| match config.get(key) {
            Some(list) => list.as_array().is_none_or(|list| list.len() != self.layers),
            None => false,
        };
        let mut lists = family.axes.layers.iter().flat_map(|layers| &layers.lists);
        match lists.find(is_wrong) {
            Some(key) => Err(AxisError::Program {
                axis: Axis::Layers,
                source: BindError::Variant {
                    key: key.clone(),
                    found: config.shown(key),
                    family: family.name(),
                    expected: format!("an entry for each of {} layers", self.layers),
                },
            }),
            None => Ok(()),
        }
    }
}

/// The norm of a layer that takes all units of an axis together.
fn norm_over(axis: Axis, family: &'static Family) -> Option<&'static str> {
    let script = &family.program;
    let ranges = |tap: &str| {
        let names = script.taps.get(tap).map(|width| width.names()).unwrap_or_default();
        names.into_iter().any(|name| family.axes.of_size(name) == Some(axis))
    };
    let is_over = |step: &'static Step| match step {
        Step::Norm(Norm { norm, from, per: None, .. }) if ranges(from) => Some(norm.as_str()),
        _ => None,
    };
    script.block.iter().flat_map(|stage| &stage.steps).find_map(is_over)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sizes::Sizes;
    use llmopt_tensor::{Dtype, TensorMeta};
    use serde_json::{Map, Value, json};
    use std::collections::BTreeMap;

    /// What a change of a family's file makes of a tiny checkpoint.
    fn refused(axis: Axis, from: &str, to: &str) -> String {
        let text = include_str!("../../families/qwen3.json");
        assert!(text.contains(from), "{from}");
        let family: Family = serde_json::from_str(&text.replace(from, to)).unwrap();
        let family: &'static Family = Box::leak(Box::new(family));
        let config = json!({
            "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 4, "intermediate_size": 6, "vocab_size": 10, "attention_bias": true,
        });
        let config: Map<String, Value> = serde_json::from_value(config).unwrap();
        let view = ConfigView(&config);
        let tensors = tensors(family, &Sizes::read(family, view).unwrap());
        let model = crate::bind::bound(family, view, &tensors).unwrap();
        model.prunable(axis).unwrap_err().to_string()
    }

    fn tensors(family: &Family, sizes: &Sizes) -> BTreeMap<String, TensorMeta> {
        let path = |layer| family.block.path.replace("{layer}", layer);
        let blocks = ["0", "1"].map(path);
        let places = [(&family.before, String::new()), (&family.after, String::new())];
        let blocks = blocks.map(|path| (&family.block.tensors, path));
        let places = places.into_iter().chain(blocks);
        let templates = places.flat_map(|(templates, path)| {
            templates.iter().map(move |template| (format!("{path}{}", template.name), template))
        });
        let meta = |(name, template): (String, &crate::family::Template)| {
            let shape: Vec<usize> =
                template.shape.iter().map(|d| sizes.value(d).unwrap()).collect();
            (name, TensorMeta::new(Dtype::F32, shape).unwrap())
        };
        templates.map(meta).collect()
    }

    #[test]
    fn axes_that_a_family_lacks() {
        let check = |axis, from: &str, to: &str, message: &str| {
            assert_eq!(refused(axis, from, to), message);
        };
        check(Axis::Heads, "\"heads\": {},", "", "`qwen3` has no axis `heads`");
        check(
            Axis::Layers,
            ",\n    \"layers\": { \"lists\": [\"layer_types\"] }",
            "",
            "`qwen3` has no axis `layers`",
        );
        let ffn = "\"ffn\": { \"sizes\": [\"inter\"] },";
        check(Axis::Ffn, ffn, "", "`qwen3` has no axis `ffn`");
        check(Axis::Ffn, "\"sizes\": [\"inter\"]", "\"sizes\": []", "`qwen3` has no axis `ffn`");
    }

    /// Not even along an axis whose units lie together: what stays whole would be unknown.
    #[test]
    fn units_that_do_not_lie_together() {
        let (from, to) = ("[\"hidden\", \"inter\"]", "[\"hidden\", \"inter / 1\"]");
        for axis in [Axis::Ffn, Axis::Heads] {
            let message = format!(
                "axis `{axis}` of `qwen3` cannot be pruned: no unit of it can be cut out of \
                 `model.layers.0.mlp.down_proj.weight`"
            );
            assert_eq!(refused(axis, from, to), message);
        }
    }
}
