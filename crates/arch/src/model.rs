//! Headers bound to an architecture.

use crate::config::ConfigView;
use crate::family::{Naming, Template};
use crate::sizes::Sizes;
use crate::{BindError, BlockScale, Family, Role, Stack, bind, by_name, names};
use llmopt_tensor::{Dtype, TensorMeta, View};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A checkpoint's tensors, each with its role. If a `Model` exists, its shapes agree with its config
/// and no tensor that its family needs is missing.
#[derive(Debug)]
pub struct Model {
    pub(crate) family: Option<&'static Family>,
    pub(crate) naming: Option<&'static Naming>,
    /// The family's dimensions.
    pub(crate) sizes: Option<Sizes>,
    /// What names each tensor, of those that the family knows.
    pub(crate) templates: BTreeMap<String, &'static Template>,
    pub(crate) config: Map<String, Value>,
    pub(crate) layers: usize,
    pub(crate) tensors: Vec<BoundTensor>,
    pub(crate) linear_weights: Vec<LinearWeight>,
    pub(crate) optional_linear_weights: Vec<LinearWeight>,
    pub(crate) stacks: Vec<Stack>,
    pub(crate) dense_linears: Vec<String>,
    pub(crate) ignore_patterns: Vec<String>,
    pub(crate) tied: Option<(String, String)>,
    pub(crate) block_scales: BTreeMap<String, BlockScale>,
}

/// A tensor and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundTensor {
    /// Its name in the checkpoint.
    pub name: String,
    /// Dtype and shape.
    pub meta: TensorMeta,
    /// What it is for.
    pub role: Role,
    /// The layer that it is in.
    pub layer: Option<usize>,
    /// The expert that it is part of.
    pub expert: Option<usize>,
}

/// A matrix that can be quantized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearWeight {
    /// The tensor that holds it.
    pub tensor: String,
    /// The tensor's name without `.weight`.
    pub module: String,
    /// Where in the tensor it lies.
    pub view: View,
    /// The merged module of which runtimes make it a part; parts must share a scheme.
    pub fused: Option<String>,
    /// The layer that it is in.
    pub layer: Option<usize>,
    /// The expert that it is part of.
    pub expert: Option<usize>,
    /// Linear, embedding or head.
    pub role: Role,
}

impl Model {
    /// The model that `config` describes and `tensors` hold. Without a config, or in a family that is
    /// unknown, names and shapes decide.
    pub fn bind(
        config: Option<&Map<String, Value>>,
        tensors: &BTreeMap<String, TensorMeta>,
    ) -> Result<Self, BindError> {
        let config = config.map(ConfigView);
        match config.map(Family::of).transpose()?.flatten().zip(config) {
            Some((family, config)) => bind::bound(family, config, tensors),
            None => by_name::bound(config, tensors),
        }
    }

    /// The family; `None` when names and shapes decided.
    pub fn family(&self) -> Option<&'static Family> {
        self.family
    }

    /// The `model_type` in the config, whether its family is known or not.
    pub fn model_type(&self) -> Option<&str> {
        ConfigView(&self.config).text("model_type").ok().flatten()
    }

    /// The number of layers.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Every tensor of the checkpoint, sorted by name.
    pub fn tensors(&self) -> &[BoundTensor] {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&BoundTensor> {
        let place = self.tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()?;
        self.tensors.get(place)
    }

    /// Tensors that the family does not have; none, where it is not known. Scales of the key-value cache
    /// belong to a runtime, not to a family.
    pub fn unknown(&self) -> impl Iterator<Item = &BoundTensor> {
        let tensors = self.tensors.iter().filter(|_| self.family.is_some());
        tensors.filter(|tensor| tensor.role == Role::Other && !names::is_cache_scale(&tensor.name))
    }

    /// Whether a tensor is of a layer that the config does not count.
    pub fn is_beyond(&self, tensor: &BoundTensor) -> bool {
        tensor.layer.is_some_and(|layer| layer >= self.layers)
    }

    /// The matrices that are quantized unless told otherwise, in the order of execution.
    pub fn linear_weights(&self) -> &[LinearWeight] {
        &self.linear_weights
    }

    /// Embeddings and heads, which are quantized only when asked for.
    pub fn optional_linear_weights(&self) -> &[LinearWeight] {
        &self.optional_linear_weights
    }

    /// Tensors that hold a matrix of every expert of a layer. They are no sites.
    pub fn stacks(&self) -> &[Stack] {
        &self.stacks
    }

    /// The modules whose experts are stacked, sorted.
    pub fn stacked_modules(&self) -> BTreeSet<&str> {
        self.stacks.iter().map(|stack| stack.module.as_str()).collect()
    }

    /// Modules that loaders may see as linear and that are no sites, sorted: what an ignore list must
    /// name. A head that is tied and absent from the checkpoint is among them.
    pub fn dense_linears(&self) -> &[String] {
        &self.dense_linears
    }

    /// Patterns (`re:...`) for an ignore list, for modules that loaders rename.
    pub fn ignore_patterns(&self) -> &[String] {
        &self.ignore_patterns
    }

    /// Embedding and head, when the config says that they are one. The head is then absent or equal.
    pub fn tied(&self) -> Option<(&str, &str)> {
        self.tied.as_ref().map(|(embedding, head)| (embedding.as_str(), head.as_str()))
    }

    /// The block scales of an F8_E4M3 weight.
    pub fn block_scale_of(&self, weight: &str) -> Option<&BlockScale> {
        self.block_scales.get(weight)
    }

    /// All block scales, by the name of the weight.
    pub fn block_scales(&self) -> &BTreeMap<String, BlockScale> {
        &self.block_scales
    }

    /// Elements held in each role, of those that occur.
    pub fn parameters_by_role(&self) -> BTreeMap<Role, u64> {
        let mut parameters = BTreeMap::new();
        for tensor in &self.tensors {
            let sum = parameters.entry(tensor.role).or_insert(0u64);
            *sum = sum.saturating_add(tensor.meta.elements());
        }
        parameters
    }

    /// Modules of matrices that are neither sites nor, in a family that is known, looked up by row.
    pub(crate) fn found_dense_linears(&self) -> Vec<String> {
        let linear_weights: BTreeSet<&str> =
            self.linear_weights.iter().map(|linear_weight| linear_weight.tensor.as_str()).collect();
        let is_lookup =
            |tensor: &BoundTensor| self.family.is_some() && tensor.role == Role::Embedding;
        let dense =
            self.tensors.iter().filter(|tensor| !linear_weights.contains(tensor.name.as_str()));
        let modules =
            dense.filter(|tensor| !is_lookup(tensor)).filter_map(BoundTensor::matrix_module);
        let tied_head = self.tied.as_ref().and_then(|(_, head)| head.strip_suffix(".weight"));
        let named = modules.chain(tied_head).flat_map(|module| self.aliases(module));
        named.collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// Every name under which a loader may know this module of the checkpoint, its own first.
    pub fn aliases(&self, module: &str) -> Vec<String> {
        match (self.family, self.naming) {
            (Some(family), Some(naming)) => naming.aliases(module, &family.namings),
            _ => vec![module.to_owned()],
        }
    }
}

impl BoundTensor {
    /// The name of the module whose weight this is, if it is a matrix.
    pub(crate) fn matrix_module(&self) -> Option<&str> {
        self.name.strip_suffix(".weight").filter(|_| self.meta.shape().len() == 2)
    }

    /// The tensor as a site, if it is a matrix with elements that are floats.
    pub(crate) fn linear_weight(
        &self,
        fused: Option<String>,
        is_scaled: bool,
    ) -> Option<LinearWeight> {
        let dtype = self.meta.dtype();
        let is_float =
            dtype.is_plain_float() || dtype == Dtype::F64 || dtype == Dtype::F8E4M3 && is_scaled;
        let module = self.matrix_module().filter(|_| is_float && self.meta.elements() > 0)?;
        Some(LinearWeight {
            tensor: self.name.clone(),
            module: module.to_owned(),
            view: View::whole(self.meta.shape()).ok()?,
            fused,
            layer: self.layer,
            expert: self.expert,
            role: self.role,
        })
    }
}
