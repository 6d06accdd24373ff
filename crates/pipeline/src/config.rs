//! What changes in `config.json`, and what `quantization_config` says.

use crate::recipe::{DenseDtype, Format, Recipe};
use crate::select::Selection;
use llmopt_arch::{LinearWeight, Model, Role};
use llmopt_checkpoint::{Config, ConfigError as EditError};
use llmopt_codec::{ConfigError, QuantizationConfig, any_matches};
use llmopt_model::QUANTIZATION_CONFIG;
use llmopt_scheme::Scheme;
use serde_json::Value;
use std::collections::BTreeSet;

/// The new `config.json` and, for people, what changed in it.
pub(crate) fn edited(
    config: &Config,
    recipe: &Recipe,
    quantization: &QuantizationConfig,
) -> Result<(Config, Vec<String>), EditError> {
    let (mut config, mut changes) = (config.clone(), Vec::new());
    match recipe.format {
        Format::CompressedTensors => {
            config.set(QUANTIZATION_CONFIG, quantization.to_json())?;
            changes.push(format!("`{QUANTIZATION_CONFIG}` set"));
        }
        Format::Dense(dtype) => {
            if config.remove(QUANTIZATION_CONFIG).is_some() {
                changes.push(format!("`{QUANTIZATION_CONFIG}` removed"));
            }
            if dtype == DenseDtype::F32 {
                changes.extend(set_dtype(&mut config, "float32")?);
            }
        }
    }
    Ok((config, changes))
}

/// Sets every key that tells a loader in which type to hold the weights.
fn set_dtype(config: &mut Config, dtype: &str) -> Result<Vec<String>, EditError> {
    let keys = ["dtype", "torch_dtype", "text_config.dtype", "text_config.torch_dtype"];
    let mut changes = Vec::new();
    for key in keys {
        if config.get(key).is_some() {
            config.set(key, Value::from(dtype))?;
            changes.push(format!("`{key}` set to {dtype}"));
        }
    }
    Ok(changes)
}

/// The groups and the ignore list that describe a selection.
///
/// The scheme that most matrices have is that of the class `Linear`; matrices with another one, and
/// those that loaders do not see as a linear, are targets by name. Names come first: compressed-tensors
/// stops at the first target that holds, and warns of targets that it never came to.
pub(crate) fn quantization_config(
    model: &Model,
    selection: &Selection,
) -> Result<QuantizationConfig, ConfigError> {
    let mut members: Vec<(Scheme, Vec<&LinearWeight>)> = Vec::new();
    for (linear, scheme) in selection.linears(model) {
        match members.iter_mut().find(|(known, _)| *known == scheme) {
            Some((_, linears)) => linears.push(linear),
            None => members.push((scheme, vec![linear])),
        }
    }
    members.sort_by_key(|(_, linears)| linears.len());
    let last = members.len().saturating_sub(1);
    let group = |(number, (scheme, linears)): (usize, (Scheme, Vec<&LinearWeight>))| {
        (targets(model, &linears, number == last, last > 0), scheme)
    };
    let groups = members.into_iter().enumerate().map(group).collect();
    QuantizationConfig::new(groups, ignored(model, selection))
}

/// Of several groups, Transformers takes the first that names experts by expression for all of them.
const EXPERTS: &str = "re:.*experts.*";

fn targets(model: &Model, linears: &[&LinearWeight], most: bool, several: bool) -> Vec<String> {
    let experts = several && linears.iter().any(|linear| linear.expert.is_some());
    let is_linear = |weight: &LinearWeight| weight.role == Role::Linear;
    let by_class = |weight: &LinearWeight| most && is_linear(weight);
    let by_expression = |linear: &LinearWeight| several && linear.expert.is_some();
    let by_name = linears
        .iter()
        .filter(|linear| !by_class(linear) && !by_expression(linear))
        .map(|linear| target(&model.aliases(&linear.module)));
    let class =
        (most && linears.iter().any(|weight| is_linear(weight))).then(|| "Linear".to_owned());
    let experts = experts.then(|| EXPERTS.to_owned());
    by_name.chain(experts).chain(class).collect()
}

/// One target for all names of a module: a loader knows it by one of them.
fn target(names: &[String]) -> String {
    match names {
        [name] => name.clone(),
        names => format!("re:(?:{})$", names.join("|").replace('.', r"\.")),
    }
}

/// Every module that a loader may see as a linear and that stays dense.
fn ignored(model: &Model, selection: &Selection) -> Vec<String> {
    let chosen: BTreeSet<&str> =
        selection.linears(model).map(|(linear, _)| linear.module.as_str()).collect();
    let dense_sites = model.linear_weights().iter().map(|linear| &linear.module);
    let modules = dense_sites.chain(model.dense_linears());
    let dense = modules.filter(|module| !chosen.contains(module.as_str()));
    let dense = dense.map(String::as_str).chain(model.stacked_modules());
    let names = dense.flat_map(|module| model.aliases(module));
    // A pattern stands for what loaders rename. If something of that kind is quantized after all, such
    // as a head, those that are not are listed by name above.
    let is_for_dense = |pattern: &&String| !any_matches(pattern, chosen.iter().copied());
    names.chain(model.ignore_patterns().iter().filter(is_for_dense).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::selected;
    use llmopt_tensor::{Dtype, TensorMeta};
    use serde_json::json;
    use std::collections::BTreeMap;

    /// The config of a checkpoint of a family that is unknown.
    fn config(modules: &[&str], change: impl FnOnce(&mut Recipe)) -> QuantizationConfig {
        let meta = TensorMeta::new(Dtype::BF16, [64, 64]).expect("small");
        let tensors: BTreeMap<String, TensorMeta> =
            modules.iter().map(|name| (format!("{name}.weight"), meta.clone())).collect();
        let json = json!({ "model_type": "nobody" });
        let model = Model::bind(json.as_object(), &tensors).expect("names decide");
        let mut recipe = Recipe::new(Scheme::preset("w8a16").expect("a preset"));
        recipe.runtimes.clear();
        change(&mut recipe);
        let selection = selected(&model, &recipe, &BTreeMap::new()).expect("it can be had");
        quantization_config(&model, &selection).expect("a config")
    }

    /// The names in memory are those of Transformers 5.24: PhiMoE's router is `mlp.router` and a
    /// linear there, that of AFMoE `mlp.gate`.
    #[test]
    fn routers_stay_dense_under_every_name_and_nothing_that_is_quantized_does() {
        let quantized = [
            "model.layers.0.self_attn.gate_proj",
            "model.layers.0.mlp.gate_proj",
            "model.layers.0.mlp.gate_up_proj",
            "model.layers.0.mlp.shared_expert.gate_proj",
            "model.layers.0.mlp.experts.0.gate_proj",
            "model.layers.0.mlp.navigate",
        ];
        let routers = [
            "model.layers.0.block_sparse_moe.gate",
            "model.layers.0.mlp.shared_expert_gate",
            "model.layers.0.mlp.router.gate",
            "model.layers.0.moe.gating",
            "lm_head",
        ];
        let config = config(&[&quantized[..], &routers].concat(), |_| ());
        for module in quantized {
            assert!(config.scheme_of(module).is_some(), "{module}");
        }
        let renamed = ["mlp.router", "mlp.gate", "mlp.gate.wg", "mlp.text_moe.gate", "moe.gating"];
        let renamed = renamed.map(|name| format!("model.layers.0.{name}"));
        for module in routers.into_iter().chain(renamed.iter().map(String::as_str)) {
            assert!(config.scheme_of(module).is_none(), "{module}");
        }
    }

    #[test]
    fn a_pattern_does_not_ignore_what_is_quantized_after_all() {
        let modules = ["model.layers.0.mlp.up_proj", "lm_head", "model.embed_tokens"];
        let with_head = config(&modules, |recipe| recipe.lm_head = true);
        assert_eq!(with_head.ignore(), ["model.embed_tokens"]);
        assert!(with_head.scheme_of("lm_head").is_some());
        let without = config(&modules, |_| ());
        assert_eq!(without.ignore(), ["lm_head", "model.embed_tokens", "re:.*lm_head"]);
    }
}
