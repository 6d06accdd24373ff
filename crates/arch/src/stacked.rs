//! Experts that are stacked in one tensor, as Transformers holds them in memory and some models are
//! saved: a matrix of every expert of a layer, `[experts, ..]`, often transposed. They are no sites.

use crate::{Role, names};
use llmopt_tensor::{Dtype, TensorMeta};
use std::collections::{BTreeMap, BTreeSet};

/// A tensor that holds a matrix of each expert of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The tensor.
    pub tensor: String,
    /// The module that loaders make of the layer's experts.
    pub module: String,
    /// The layer that it is in.
    pub layer: Option<usize>,
    /// Its elements.
    pub parameters: u64,
}

/// Every stack among `tensors`, sorted by name.
pub(crate) fn stacks(tensors: &BTreeMap<String, TensorMeta>) -> Vec<Stack> {
    let routers = Routers::of(tensors);
    let stack = |(name, meta): (&String, &TensorMeta)| {
        let module = experts_module(name, meta, &routers)?;
        let (layer, parameters) = (names::layer(name), meta.elements());
        Some(Stack { tensor: name.clone(), module, layer, parameters })
    };
    tensors.iter().filter_map(stack).collect()
}

/// Patterns for an ignore list: loaders that know the experts of a layer one by one look for the names
/// of each.
pub(crate) fn patterns(stacks: &[Stack]) -> impl Iterator<Item = String> {
    let last = |stack: &Stack| stack.module.rsplit('.').next().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = stacks.iter().map(last).collect();
    names.into_iter().map(|name| format!(r"re:(.*\.)?{name}(\.|$)"))
}

/// The module of the experts that a tensor holds, if it holds a matrix of each.
fn experts_module(name: &str, meta: &TensorMeta, routers: &Routers<'_>) -> Option<String> {
    if !holds_matrices(name, meta) || names::expert(name).is_some() {
        return None;
    }
    let path = name.strip_suffix(".weight").unwrap_or(name);
    if let Some(experts) = through_experts(path) {
        // MegaBlocks, and with it DBRX, stacks the experts' rows, in parameters without a module.
        let is_stacked = meta.shape().len() > 2 || path == name && meta.shape().len() == 2;
        return is_stacked.then(|| experts.to_owned());
    }
    let (parent, _) = path.rsplit_once('.')?;
    let is_routed = meta.shape().len() == 3 && routers.choose_from(parent, meta.shape()[0]);
    is_routed.then(|| format!("{parent}.{EXPERTS}"))
}

/// Whether the tensor has the type and the name of weights: no bias, no scale, nothing of a router.
fn holds_matrices(name: &str, meta: &TensorMeta) -> bool {
    let last = name.strip_suffix(".weight").unwrap_or(name).rsplit('.').next().unwrap_or(name);
    let is_float = meta.dtype().is_plain_float() || meta.dtype() == Dtype::F8E4M3;
    let is_beside = ["bias", "scale", "norm"].iter().any(|word| last.contains(word));
    let is_other = matches!(names::role(name), Role::Tower | Role::Router | Role::Embedding);
    is_float && meta.elements() > 0 && !is_beside && !is_other
}

/// The beginning of the path as far as the first segment that is called after experts which a router
/// chooses from.
fn through_experts(path: &str) -> Option<&str> {
    let mut end = 0;
    path.split('.').find_map(|segment| {
        end += segment.len() + 1;
        let is_routed = segment.contains(EXPERTS) && !segment.contains("shared");
        is_routed.then(|| &path[..end - 1])
    })
}

/// The modules that hold a router, each with the shape of its matrix.
struct Routers<'a>(BTreeMap<&'a str, &'a [usize]>);

impl<'a> Routers<'a> {
    fn of(tensors: &'a BTreeMap<String, TensorMeta>) -> Self {
        let routers = tensors.iter().filter(|(name, _)| names::role(name) == Role::Router);
        Self(
            routers.filter_map(|(name, meta)| Some((names::routed(name)?, meta.shape()))).collect(),
        )
    }

    /// Whether the router of `module`, or of one that it is part of, chooses from so many experts.
    fn choose_from(&self, module: &str, experts: usize) -> bool {
        let ends = module.match_indices('.').map(|(end, _)| end).chain([module.len()]);
        let mut parents = ends.filter_map(|end| self.0.get(&module[..end]));
        parents.any(|shape| shape.len() == 2 && shape.contains(&experts))
    }
}

const EXPERTS: &str = "experts";

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and shapes are those of the models' files, made small: 4 experts, 8 features.
    #[test]
    fn stacks_are_told_by_their_names_and_by_their_routers() {
        let gate = |parent: &str, segment: &str| (format!("{parent}.{segment}.weight"), vec![4, 8]);
        let check =
            |name: &str, shape: &[usize], router: (String, Vec<usize>), module: Option<&str>| {
                let meta = |shape: &[usize]| TensorMeta::new(Dtype::BF16, shape).expect("small");
                let tensors = [(name.to_owned(), meta(shape)), (router.0, meta(&router.1))];
                let found: Vec<_> = stacks(&tensors.into()).into_iter().map(|s| s.module).collect();
                assert_eq!(found, Vec::from_iter(module), "{name} {shape:?}");
            };
        let moe = "layers.0.mlp";
        let gpt_oss = || gate(moe, "router");
        check(
            "layers.0.mlp.experts.gate_up_proj",
            &[4, 8, 6],
            gpt_oss(),
            Some("layers.0.mlp.experts"),
        );
        check("layers.0.mlp.experts.gate_up_proj_bias", &[4, 6], gpt_oss(), None);
        check("layers.0.mlp.experts.3.up_proj.weight", &[6, 8], gpt_oss(), None);
        check("layers.0.mlp.shared_experts.up_proj.weight", &[6, 8], gpt_oss(), None);
        check(
            "layers.0.mlp.experts.fc1.weight",
            &[4, 8, 6],
            gpt_oss(),
            Some("layers.0.mlp.experts"),
        );
        let granite = || gate("layers.0.block_sparse_moe", "router.layer");
        let experts = Some("layers.0.block_sparse_moe.experts");
        check("layers.0.block_sparse_moe.input_linear.weight", &[4, 6, 8], granite(), experts);
        let step = || gate("layers.0.moe", "gate");
        check("layers.0.moe.up_proj.weight", &[4, 6, 8], step(), Some("layers.0.moe.experts"));
        check("layers.0.moe.up_proj.weight", &[5, 6, 8], step(), None);
        check("layers.1.moe.up_proj.weight", &[4, 6, 8], step(), None);
        check("layers.0.moe.e_bias.weight", &[4, 6, 8], step(), None);
        let dbrx = || gate("blocks.0.ffn", "router.layer");
        check("blocks.0.ffn.experts.mlp.w1", &[24, 8], dbrx(), Some("blocks.0.ffn.experts"));
        check("blocks.0.ffn.experts.mlp.bias", &[8], dbrx(), None);
        // A convolution over time, and one of a tower.
        check("layers.0.mamba.conv1d.weight", &[16, 1, 4], gate("layers.0.mamba", "gate"), None);
        check("vision.0.experts.w", &[4, 6, 8], gate("vision.0", "router"), None);
    }
}
