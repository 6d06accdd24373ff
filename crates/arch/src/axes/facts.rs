//! What there is to remove along an axis, or why nothing can be.

use super::data::GROUPS;
use super::span::heads_per_group;
use super::{Axis, AxisError};
use crate::config::ConfigView;
use crate::resolve::script::{Norm, Step};
use crate::sizes::Sizes;
use crate::{BindError, Family, Model};

/// An axis along which a model can be pruned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxisFacts {
    /// The axis.
    pub axis: Axis,
    /// What is counted: one entry, but for families whose experts are not as wide as their dense MLPs.
    pub units: Vec<Units>,
}

/// Units of an axis that are counted by one key of the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// The dimension, as the family's file calls it: `inter`, `expert_inter`, `kv_heads`, `layers`.
    pub size: &'static str,
    /// The config key that gives the number.
    pub key: &'static str,
    /// How many there are in each place.
    pub count: usize,
    /// How many places have so many: MLPs, experts, attentions; one for layers.
    pub places: usize,
    /// Elements that go with one unit in one place. Of layers that differ, the mean, rounded down.
    pub parameters: u64,
    divides: Option<Divides>,
}

/// A size that must be a multiple of the query heads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Divides {
    key: &'static str,
    size: usize,
    heads_per_group: usize,
}

impl Model {
    /// What can be removed along an axis; an error says by name what forbids it. A model without a
    /// forward pass has no axes, as nothing vouches for what its config says.
    pub fn prunable(&self, axis: Axis) -> Result<AxisFacts, AxisError> {
        let (family, sizes) = self.known(axis)?;
        if !family.axes.has(axis) {
            return Err(AxisError::Lacks { axis, family: family.name() });
        }
        self.check_dense(axis)?;
        self.check_family(axis, family)?;
        self.program().map_err(|source| AxisError::Program { axis, source })?;
        match axis {
            Axis::Ffn | Axis::Heads => self.check_spans(axis, family)?,
            Axis::Layers => self.check_lists(family)?,
        }
        let units = self.units(axis, family, sizes);
        let smaller = |units: &Units| units.counts().any(|count| count < units.count);
        match units.first() {
            None => Err(AxisError::Lacks { axis, family: family.name() }),
            Some(&Units { key, count, .. }) if !units.iter().any(smaller) => {
                Err(AxisError::Smallest { axis, family: family.name(), key, count })
            }
            Some(_) => Ok(AxisFacts { axis, units }),
        }
    }

    /// The family and its sizes.
    pub(super) fn known(&self, axis: Axis) -> Result<(&'static Family, &Sizes), AxisError> {
        self.family.zip(self.sizes.as_ref()).ok_or_else(|| {
            let named = ConfigView(&self.config).text("model_type").ok().flatten();
            let family = named.unwrap_or("a checkpoint without a known family").to_owned();
            AxisError::Unknown { axis, family }
        })
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

    fn units(&self, axis: Axis, family: &'static Family, sizes: &Sizes) -> Vec<Units> {
        if axis == Axis::Layers {
            return vec![self.layer_units(sizes)];
        }
        let mut found: Vec<Units> = Vec::new();
        for coupling in self.couplings(axis) {
            match found.iter_mut().find(|units| units.size == coupling.size) {
                Some(units) => units.places += 1,
                None => found.push(Units {
                    size: coupling.size,
                    key: sizes.key(coupling.size),
                    count: coupling.units,
                    places: 1,
                    parameters: coupling.parameters(),
                    divides: divides(coupling.size, family, sizes),
                }),
            }
        }
        found
    }

    fn layer_units(&self, sizes: &Sizes) -> Units {
        let mean = self.block_parameters().checked_div(self.layers as u64);
        Units {
            size: LAYERS,
            key: sizes.key(LAYERS),
            count: self.layers,
            places: 1,
            parameters: mean.unwrap_or_default(),
            divides: None,
        }
    }
}

impl Units {
    /// Whether loaders accept so many. What is there they accept.
    pub fn accepts(&self, count: usize) -> bool {
        let divides = |divides: &Divides| match count.checked_mul(divides.heads_per_group) {
            Some(heads) => divides.size.is_multiple_of(heads),
            None => false,
        };
        count == self.count
            || (1..self.count).contains(&count) && self.divides.as_ref().is_none_or(divides)
    }

    /// The numbers that loaders accept, ascending.
    pub fn counts(&self) -> impl Iterator<Item = usize> {
        (1..=self.count).filter(|&count| self.accepts(count))
    }

    /// Fails if loaders do not accept so many.
    pub(super) fn check(&self, wanted: usize) -> Result<(), AxisError> {
        if self.accepts(wanted) {
            return Ok(());
        }
        let of_heads = |divides: &Divides| {
            let Divides { key, size, heads_per_group } = divides;
            format!(", where the query heads, {heads_per_group} for each, divide `{key}`, {size}")
        };
        let heads = self.divides.as_ref().map(of_heads).unwrap_or_default();
        let expected = format!("1 to {}{heads}", self.count);
        Err(AxisError::Count { key: self.key, wanted, expected })
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

fn divides(size: &str, family: &'static Family, sizes: &Sizes) -> Option<Divides> {
    let divide = family.axes.heads.as_ref()?.divide.as_ref().filter(|_| size == GROUPS)?;
    let heads_per_group = heads_per_group(sizes)?;
    Some(Divides { key: sizes.key(divide), size: sizes.find(divide)?, heads_per_group })
}

/// The dimension of layers.
pub(super) const LAYERS: &str = "layers";

#[cfg(test)]
mod tests {
    use super::*;
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
            "head_dim": 4, "intermediate_size": 6, "vocab_size": 10,
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
