//! Checkpoints of unknown families and bare files: names and shapes decide.

use crate::config::ConfigView;
use crate::model::{BoundTensor, Model};
use crate::scales::block_scales;
use crate::stacked::{self, Stack, stacks};
use crate::{BindError, Role, names};
use llmopt_tensor::TensorMeta;
use std::collections::{BTreeMap, BTreeSet};

/// Every matrix of floats that multiplies hidden states, as far as its name tells, is a site.
pub(crate) fn bound(
    config: Option<ConfigView<'_>>,
    tensors: &BTreeMap<String, TensorMeta>,
) -> Result<Model, BindError> {
    let block_scales = block_scales(config, tensors)?;
    let stacks = stacks(tensors);
    let bound: Vec<BoundTensor> =
        tensors.iter().map(|tensor| bound_tensor(tensor, &stacks)).collect();
    let mut linear_weights = Vec::new();
    let mut optional_linear_weights = Vec::new();
    for tensor in &bound {
        let is_scaled = block_scales.contains_key(&tensor.name);
        let fused = tensor.matrix_module().and_then(names::fused);
        match tensor.role {
            Role::Linear => {
                check_orientation(tensor, tensors)?;
                linear_weights.extend(tensor.linear_weight(fused, is_scaled));
            }
            Role::Embedding | Role::Head => {
                optional_linear_weights.extend(tensor.linear_weight(None, is_scaled))
            }
            _ => {}
        }
    }
    linear_weights.sort_by(|a, b| names::natural_order(&a.tensor, &b.tensor));
    let layers: BTreeSet<usize> =
        linear_weights.iter().filter_map(|linear_weight| linear_weight.layer).collect();
    let mut model = Model {
        family: None,
        naming: None,
        sizes: None,
        templates: BTreeMap::new(),
        config: config.map(|config| config.0.clone()).unwrap_or_default(),
        layers: layers.len(),
        tied: tied(config, &bound)?,
        ignore_patterns: ignore_patterns(&bound, &stacks),
        tensors: bound,
        linear_weights,
        optional_linear_weights,
        stacks,
        dense_linears: Vec::new(),
        block_scales,
    };
    model.dense_linears = model.found_dense_linears();
    Ok(model)
}

fn bound_tensor((name, meta): (&String, &TensorMeta), stacks: &[Stack]) -> BoundTensor {
    let is_stack = stacks.binary_search_by(|stack| stack.tensor.cmp(name)).is_ok();
    let role = if is_stack { Role::Experts } else { names::role(name) };
    let layer = names::layer(name).filter(|_| role != Role::Tower);
    let expert = names::expert(name);
    let mut tensor = BoundTensor { name: name.clone(), meta: meta.clone(), role, layer, expert };
    let is_matrix = tensor.linear_weight(None, true).is_some();
    if role == Role::Linear && !is_matrix {
        tensor.role = Role::Other;
    }
    tensor
}

/// A Conv1D keeps its output features along the columns: its bias is as long as a row. Square ones
/// are told by the wide `c_attn` that stands beside them.
fn check_orientation(
    tensor: &BoundTensor,
    tensors: &BTreeMap<String, TensorMeta>,
) -> Result<(), BindError> {
    let (Some(module), &[rows, columns]) = (tensor.matrix_module(), tensor.meta.shape()) else {
        return Ok(());
    };
    let bias = tensors.get(&format!("{module}.bias"));
    let has_bias_of_columns = bias.is_some_and(|bias| bias.shape() == [columns]);
    let is_wide_attention = module.ends_with("c_attn") && rows.checked_mul(3) == Some(columns);
    if rows != columns && has_bias_of_columns || is_wide_attention {
        return Err(BindError::Transposed { tensor: tensor.name.clone() });
    }
    Ok(())
}

/// Embedding and head when the config ties them. Heads that are not in the checkpoint are called
/// `lm_head` by the loaders.
fn tied(
    config: Option<ConfigView<'_>>,
    tensors: &[BoundTensor],
) -> Result<Option<(String, String)>, BindError> {
    const TOKENS: [&str; 5] =
        ["embed_tokens", "wte", "tok_embeddings", "word_embeddings", "embed_in"];
    let is_tied = config.map(|config| config.flag("tie_word_embeddings")).transpose()?.flatten();
    if is_tied != Some(true) {
        return Ok(None);
    }
    let is_of_tokens = |tensor: &&BoundTensor| {
        let last = tensor.matrix_module().and_then(|module| module.rsplit('.').next());
        last.is_some_and(|last| TOKENS.contains(&last))
    };
    let embedding =
        tensors.iter().filter(|tensor| tensor.role == Role::Embedding).find(is_of_tokens);
    Ok(embedding.map(|embedding| (embedding.name.clone(), "lm_head.weight".to_owned())))
}

/// The towers' names, the usual head's, and routers': loaders put them below other parents than files
/// do, and call routers what they like.
fn ignore_patterns(tensors: &[BoundTensor], stacks: &[Stack]) -> Vec<String> {
    let is_plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let towers = tensors.iter().filter(|tensor| tensor.role == Role::Tower);
    let segments = towers.filter_map(|tensor| names::tower(&tensor.name)).filter(is_plain);
    let segments: BTreeSet<&str> = segments.collect();
    let mut patterns: Vec<String> =
        segments.into_iter().map(|segment| format!("re:.*{segment}.*")).collect();
    patterns.push("re:.*lm_head".to_owned());
    let is_routed = |tensor: &BoundTensor| {
        matches!(tensor.role, Role::Router | Role::Experts) || tensor.expert.is_some()
    };
    if tensors.iter().any(is_routed) {
        patterns.extend(names::router_patterns());
    }
    patterns.extend(stacked::patterns(stacks));
    patterns
}
