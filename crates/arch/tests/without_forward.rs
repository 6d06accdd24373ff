//! Configs with which a model binds, and is quantized, but that no forward pass is known for.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod checkpoints;

use checkpoints::{checkpoint, hostile};
use llmopt_arch::Model;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The message when `changes` are made to the config, below `text_config` where it has one.
fn check(folder: &str, changes: Value, message: &str) {
    let mut checkpoint = checkpoint(folder);
    let nested = checkpoint.config.contains_key("text_config");
    let config: &mut Map<String, Value> = if nested {
        checkpoint.config["text_config"].as_object_mut().unwrap()
    } else {
        &mut checkpoint.config
    };
    config.extend(changes.as_object().unwrap().clone());
    let model = Model::bind(Some(&checkpoint.config), &checkpoint.tensors).unwrap();
    assert_eq!(model.program().expect_err(message).to_string(), message);
}

#[test]
fn attention_that_looks_ahead() {
    for folder in ["gemma", "gemma2", "gemma3_text"] {
        check(
            folder,
            json!({ "use_bidirectional_attention": true }),
            &format!(
                "`use_bidirectional_attention` in `config.json` is true, but `{folder}` expects false"
            ),
        );
    }
    check(
        "gemma3",
        json!({ "use_bidirectional_attention": true }),
        "`text_config.use_bidirectional_attention` in `config.json` is true, but `gemma3` expects false",
    );
}

#[test]
fn keys_that_loaders_read_differently_or_not_at_all() {
    check(
        "gemma3",
        json!({ "final_logit_softcapping": 30.0 }),
        "`text_config.final_logit_softcapping` in `config.json` is 30.0, but `gemma3` expects nothing",
    );
    check(
        "mistral",
        json!({ "attention_bias": true }),
        "`attention_bias` in `config.json` is true, but `mistral` expects false",
    );
    check(
        "llama",
        json!({ "layer_types": ["full_attention", "sliding_attention"] }),
        "`layer_types` in `config.json` is [\"full_attention\",\"sliding_attention\"], but `llama` \
         expects \"full_attention\"",
    );
    check(
        "qwen2",
        json!({ "per_layer_config": { "1": { "sliding_window": 3 } } }),
        "`per_layer_config` in `config.json` is {\"1\":{\"sliding_window\":3}}, but `qwen2` expects \
         nothing",
    );
}

#[test]
fn windows_that_no_layer_can_have() {
    check(
        "qwen3",
        json!({ "layer_types": ["full_attention"] }),
        "`layer_types` in `config.json` is [\"full_attention\"], but `qwen3` expects a type for each of \
         2 layers",
    );
    check(
        "gemma2",
        json!({ "layer_types": ["full_attention", "linear_attention"] }),
        "`layer_types` in `config.json` is [\"full_attention\",\"linear_attention\"], but `gemma2` \
         expects \"full_attention\" or \"sliding_attention\"",
    );
    check(
        "qwen3",
        json!({ "layer_types": ["full_attention", "sliding_attention"] }),
        "`sliding_window` in `config.json` is null, but `qwen3` expects the width of the window that \
         some layers have",
    );
    check(
        "gemma2",
        json!({ "sliding_window": null }),
        "`sliding_window` in `config.json` is null, but `gemma2` expects the width of the window that \
         some layers have",
    );
    check(
        "mistral",
        json!({ "sliding_window": 0 }),
        "`sliding_window` in `config.json` is 0, expected a whole number of at least 1",
    );
}

#[test]
fn numbers_out_of_range() {
    check(
        "gemma2",
        json!({ "attn_logit_softcapping": -1 }),
        "`attn_logit_softcapping` in `config.json` is -1, expected a number above 0, or null",
    );
    check(
        "gemma2",
        json!({ "query_pre_attn_scalar": 0 }),
        "`query_pre_attn_scalar` in `config.json` is 0, expected a number that is neither too large nor \
         too small",
    );
    check(
        "granite",
        json!({ "logits_scaling": 0 }),
        "`logits_scaling` in `config.json` is 0, expected a number that is neither too large nor too \
         small",
    );
    check(
        "llama",
        json!({ "rms_norm_eps": "small" }),
        "`rms_norm_eps` in `config.json` is \"small\", expected a number",
    );
    check(
        "mixtral",
        json!({ "num_experts_per_tok": 4 }),
        "`num_experts_per_tok` in `config.json` is 4, but `mixtral` expects at most its 3 experts",
    );
    check(
        "gemma",
        json!({ "max_position_embeddings": 0 }),
        "`max_position_embeddings` in `config.json` is 0, expected a whole number of at least 1",
    );
}

#[test]
fn heads_that_no_keys_divide() {
    let mut checkpoint = checkpoint("llama-tied");
    checkpoint.config.insert("num_attention_heads".into(), json!(1));
    checkpoint.config.insert("head_dim".into(), json!(16));
    checkpoint.config.insert("num_key_value_heads".into(), json!(2));
    for (name, meta) in &mut checkpoint.tensors {
        let shape: Option<[usize; 2]> = match name {
            name if name.ends_with("q_proj.weight") => Some([16, 64]),
            name if name.ends_with("o_proj.weight") => Some([64, 16]),
            _ => None,
        };
        if let Some(shape) = shape {
            *meta = llmopt_tensor::TensorMeta::new(meta.dtype(), shape).unwrap();
        }
    }
    let model = Model::bind(Some(&checkpoint.config), &checkpoint.tensors).unwrap();
    let message = "`num_attention_heads` in `config.json` is 1, but `llama` expects a multiple of \
                   `num_key_value_heads`, 2";
    assert_eq!(model.program().unwrap_err().to_string(), message);
}

#[test]
fn models_without_a_head_or_a_family() {
    let mut base = checkpoint("llama");
    base.tensors.remove("lm_head.weight");
    base.config.insert("architectures".into(), json!(["LlamaModel"]));
    let model = Model::bind(Some(&base.config), &base.tensors).unwrap();
    let message = "tensor `lm_head.weight` is missing, which `llama` expects";
    assert_eq!(model.program().unwrap_err().to_string(), message);

    let mut unknown = checkpoint("llama");
    unknown.config.insert("model_type".into(), json!("nobody"));
    unknown.config.remove("architectures");
    let model = Model::bind(Some(&unknown.config), &unknown.tensors).unwrap();
    let error = model.program().unwrap_err();
    assert_eq!(error.to_string(), "the forward pass of `nobody` is not known");
    assert!(error.hint().is_some());
    let bare = Model::bind(None, &BTreeMap::new()).unwrap();
    let message = "the forward pass of `a checkpoint without a known family` is not known";
    assert_eq!(bare.program().unwrap_err().to_string(), message);
}

/// Loaders would leave a bias out that the config does not switch on, and compute something else.
#[test]
fn a_bias_that_is_switched_off_is_refused() {
    let mut checkpoint = checkpoint("llama");
    let model = Model::bind(Some(&checkpoint.config), &checkpoint.tensors).unwrap();
    let program = model.program().unwrap();
    let phases = program.blocks.iter().flat_map(|block| &block.phases);
    let linears = phases.flat_map(|phase| &phase.operations).filter_map(|step| step.linear());
    assert_eq!(linears.filter(|linear| linear.bias.is_some()).count(), 14);

    checkpoint.config.insert("attention_bias".into(), json!(false));
    let error = Model::bind(Some(&checkpoint.config), &checkpoint.tensors).unwrap_err();
    let message = "tensor `model.layers.0.self_attn.q_proj.bias` is there, but `llama` has \
                   `model.layers.0.self_attn.q_proj` without it";
    assert_eq!(error.to_string(), message);
}

/// Hostile configs give no panic, and a program has the layers that the checkpoint has.
#[test]
fn hostile_configs_are_refused_or_resolved() {
    let mut resolved = 0;
    hostile(|name, config, tensors| {
        let Ok(model) = Model::bind(Some(config), tensors) else { return };
        let Ok(program) = model.program() else { return };
        assert!(program.blocks.len() <= 2, "{name}");
        resolved += 1;
    });
    assert!(resolved > 1000, "{resolved}");
}
