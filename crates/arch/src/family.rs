//! Families as they are written in `families/*.json`.

use crate::axes::Axes;
use crate::config::ConfigView;
use crate::expression::Expression;
use crate::resolve::Script;
use crate::{BindError, Role};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// A model family: what its checkpoints hold and how that follows from the config.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    name: String,
    model_types: Vec<String>,
    architectures: Vec<String>,
    /// The ways in which checkpoints of the family begin their tensors' names.
    pub(crate) namings: Vec<Naming>,
    pub(crate) assumes: Vec<Assumption>,
    pub(crate) dims: Vec<Dimension>,
    pub(crate) tied: Tied,
    /// How the names of tensors begin that belong to a vision or audio tower or its projector.
    #[serde(default)]
    pub(crate) towers: Vec<String>,
    /// Patterns for modules whose names in memory differ from those in the checkpoint.
    #[serde(default)]
    pub(crate) ignore: Vec<String>,
    pub(crate) sparse: Option<Sparse>,
    pub(crate) before: Vec<Template>,
    pub(crate) block: Block,
    pub(crate) after: Vec<Template>,
    pub(crate) axes: Axes,
    pub(crate) program: Script,
}

/// Beginnings of the names in this file, and what stands in their place in a checkpoint.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Naming(BTreeMap<String, String>);

/// A value in the config without which the data does not hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assumption {
    key: String,
    one_of: Vec<String>,
}

/// A size: the first of `keys` that the config has, or the default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dimension {
    pub(crate) name: String,
    pub(crate) keys: Vec<String>,
    pub(crate) default: Option<Expression>,
}

/// Whether the head is the embedding: the first of `keys` that the config has, or the default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tied {
    pub(crate) keys: Vec<String>,
    pub(crate) default: bool,
}

/// Config keys that tell which layers of a mixture of experts are dense.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sparse {
    pub(crate) step: String,
    pub(crate) dense: String,
}

/// Which layers of a mixture of experts are sparse.
pub(crate) struct SparseLayers {
    /// The numbers of those that are listed as dense.
    dense: BTreeSet<u64>,
    /// The distance between sparse layers.
    step: usize,
}

/// The tensors of one layer, in the order in which they are used.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Block {
    /// What the names begin with; `{layer}` stands for the layer's number.
    pub(crate) path: String,
    pub(crate) tensors: Vec<Template>,
}

/// A tensor, or one per layer, or one per expert where the name has `{expert}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Template {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) shape: Vec<Expression>,
    /// The module that runtimes merge this one into.
    pub(crate) fused: Option<String>,
    /// Only found for sure when this config key is true; without it, always.
    pub(crate) required_if: Option<String>,
    /// Only in layers of this kind.
    pub(crate) only: Option<LayerKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LayerKind {
    Dense,
    Sparse,
}

/// Families whose linears the output format cannot express.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    reason: String,
    model_types: Vec<String>,
    architectures: Vec<String>,
}

impl Family {
    /// The name, as error messages and reports give it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Values of `model_type` in the configs of this family.
    pub fn model_types(&self) -> &[String] {
        &self.model_types
    }

    /// Values of `architectures` in the configs of this family's causal language models.
    pub fn architectures(&self) -> &[String] {
        &self.architectures
    }

    /// Every family, by name.
    pub fn all() -> &'static [Self] {
        &FAMILIES
    }

    /// The family of a config, if it is one of ours; an error if it is one that cannot be quantized.
    /// `model_type` decides; only a config without it is known by its architectures.
    pub(crate) fn of(config: ConfigView<'_>) -> Result<Option<&'static Self>, BindError> {
        let architectures = config.texts("architectures")?;
        let names = match config.text("model_type")? {
            Some(name) => vec![name],
            None => architectures,
        };
        for name in names {
            let listed = |names: &[String]| names.iter().any(|listed| listed == name);
            if listed(&REFUSED.model_types) || listed(&REFUSED.architectures) {
                return Err(BindError::Refused { family: name.into(), reason: &REFUSED.reason });
            }
            let is_this =
                |family: &&Self| listed(&family.model_types) || listed(&family.architectures);
            if let Some(family) = FAMILIES.iter().find(is_this) {
                return Ok(Some(family));
            }
        }
        Ok(None)
    }
}

impl Naming {
    /// The name in a checkpoint of the tensor or module that this file calls `name`.
    pub(crate) fn apply(&self, name: &str) -> String {
        let renamed = |(from, to): (&String, &String)| {
            Some(format!("{to}{}", name.strip_prefix(from.as_str())?))
        };
        self.0.iter().find_map(renamed).unwrap_or_else(|| name.to_owned())
    }

    /// The names of a module of a checkpoint that follows this naming, under it and under each of
    /// `namings`. A naming that leaves out a beginning is that of base models saved without their
    /// head; loaders put the beginning back.
    pub(crate) fn aliases(&self, module: &str, namings: &[Self]) -> Vec<String> {
        let dotted = format!("{module}.");
        let ours = |(from, to): (&String, &String)| {
            Some((from.clone(), dotted.strip_prefix(to.as_str())?))
        };
        let canonical = self.0.iter().filter_map(ours).min_by_key(|(_, rest)| rest.len());
        let mut names = vec![module.to_owned()];
        if let Some((from, rest)) = canonical {
            let name = from + rest;
            let loaders = namings.iter().filter(|naming| !naming.0.values().any(String::is_empty));
            names
                .extend(loaders.map(|naming| naming.apply(&name).trim_end_matches('.').to_owned()));
        }
        names.sort_by_key(|name| name != module);
        names.dedup();
        names
    }
}

impl Assumption {
    pub(crate) fn check(
        &'static self,
        family: &'static str,
        config: ConfigView<'_>,
    ) -> Result<(), BindError> {
        let found = match config.get(&self.key) {
            Some(found) if !self.one_of.iter().any(|value| found.as_str() == Some(value)) => found,
            _ => return Ok(()),
        };
        let quoted: Vec<String> = self.one_of.iter().map(|value| format!("{value:?}")).collect();
        let (key, found) = (self.key.clone(), crate::config::shown(found));
        Err(BindError::Variant { key, found, family, expected: quoted.join(" or ") })
    }
}

impl Tied {
    pub(crate) fn read(&self, config: ConfigView<'_>) -> Result<bool, BindError> {
        for key in &self.keys {
            if let Some(tied) = config.flag(key)? {
                return Ok(tied);
            }
        }
        Ok(self.default)
    }
}

impl Sparse {
    pub(crate) fn read(&self, config: ConfigView<'_>) -> Result<SparseLayers, BindError> {
        let dense = config.indices(&self.dense)?.into_iter().collect();
        Ok(SparseLayers { dense, step: config.size(&self.step)?.unwrap_or(1) })
    }
}

impl SparseLayers {
    pub(crate) fn kind(&self, layer: usize) -> LayerKind {
        let is_sparse =
            !self.dense.contains(&(layer as u64)) && (layer + 1).is_multiple_of(self.step);
        if is_sparse { LayerKind::Sparse } else { LayerKind::Dense }
    }
}

macro_rules! families {
    ($($name:literal)*) => {
        [$(include_str!(concat!("../families/", $name, ".json"))),*]
    };
}

static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| {
    let texts = families!(
        "gemma" "gemma2" "gemma3" "gemma3_text" "granite" "llama" "mistral" "mixtral" "olmo2" "phi3"
        "qwen2" "qwen3" "qwen3_moe"
    );
    let parsed = |text| serde_json::from_str(text).expect("the tests parse every family");
    texts.into_iter().map(parsed).collect()
});

static REFUSED: LazyLock<Refused> = LazyLock::new(|| {
    let text = include_str!("../families/conv1d.json");
    serde_json::from_str(text).expect("the tests parse it")
});

#[cfg(test)]
mod tests {
    use super::*;

    /// Loops over layers and experts end at the first that a checkpoint lacks, because each has a
    /// tensor that is always required.
    #[test]
    fn every_layer_and_expert_has_a_required_tensor() {
        for family in Family::all() {
            let required = |kind| {
                let is_kind = |template: &&Template| template.only.is_none_or(|only| only == kind);
                family.block.tensors.iter().filter(is_kind).any(|t| t.required_if.is_none())
            };
            assert!(required(LayerKind::Dense) && required(LayerKind::Sparse), "{}", family.name);
            assert!(family.block.path.contains("layers.{layer}."), "{}", family.name);
            let mut experts = family.block.tensors.iter().filter(|t| t.name.contains("{expert}"));
            assert!(experts.all(|t| t.required_if.is_none()), "{}", family.name);
        }
    }

    #[test]
    fn shapes_use_dimensions_that_the_family_has() {
        for family in Family::all() {
            let mut known = BTreeSet::new();
            for Dimension { name, keys, default } in &family.dims {
                let names = default.iter().flat_map(Expression::names);
                assert!(
                    names.into_iter().all(|name| known.contains(name)),
                    "{} {name}",
                    family.name
                );
                assert!(!keys.is_empty() && known.insert(name.as_str()), "{} {name}", family.name);
            }
            let Family { before, block, after, .. } = family;
            let templates = before.iter().chain(&block.tensors).chain(after);
            let shapes = templates.flat_map(|template| &template.shape);
            let unknown = shapes.flat_map(Expression::names).find(|name| !known.contains(name));
            assert_eq!(unknown, None, "{}", family.name);
            assert!(known.contains("layers") && !family.namings.is_empty(), "{}", family.name);
        }
    }

    #[test]
    fn no_model_type_or_architecture_is_claimed_twice() {
        let mut names = BTreeSet::new();
        let families = Family::all().iter().map(|f| (&f.model_types, &f.architectures));
        for (types, architectures) in
            families.chain([(&REFUSED.model_types, &REFUSED.architectures)])
        {
            for name in types.iter().chain(architectures) {
                assert!(names.insert(name), "{name}");
            }
        }
    }
}
