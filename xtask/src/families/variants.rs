//! Configs that lead another way through the weights of a checkpoint.

use super::checkpoints::with;
use serde_json::{Value, json};

/// A config for the weights of a checkpoint.
pub(super) struct Variant {
    /// The checkpoint's.
    pub(super) folder: &'static str,
    pub(super) name: &'static str,
    /// Keys of the checkpoint's config that it lacks.
    pub(super) without: &'static [&'static str],
    /// Keys of the checkpoint's config with other values.
    pub(super) changes: Value,
}

impl Variant {
    /// The config, made from that of the checkpoint.
    pub(super) fn config(&self, of_checkpoint: &Value) -> Value {
        let mut config = with(of_checkpoint.clone(), self.changes.clone());
        if let Some(config) = config.as_object_mut() {
            config.retain(|key, _| !self.without.contains(&key.as_str()));
        }
        config
    }
}

/// Every config of `testdata/variants`.
pub(super) fn variants() -> Vec<Variant> {
    let variant = |folder, name, changes| Variant { folder, name, without: &[], changes };
    let without = |without, variant| Variant { without, ..variant };
    let long: Vec<f64> = (0..8).map(|column| 1.0 + 0.5 * f64::from(column)).collect();
    let short: Vec<f64> = (0..8).map(|column| 1.0 + 0.1 * f64::from(column)).collect();
    vec![
        without(&["rope_scaling", "rope_theta"], variant("llama-tied", "default", json!({}))),
        variant(
            "llama-tied",
            "dynamic",
            json!({
                "max_position_embeddings": 64,
                "rope_scaling": { "factor": 2.0, "rope_type": "dynamic" }
            }),
        ),
        variant(
            "llama-tied",
            "longrope",
            json!({
                "rope_scaling": {
                    "factor": 4.0, "long_factor": long, "original_max_position_embeddings": 64,
                    "rope_type": "longrope", "short_factor": short
                }
            }),
        ),
        variant(
            "llama-tied",
            "yarn",
            json!({
                "rope_parameters": {
                    "beta_fast": 16.0, "beta_slow": 2.0, "factor": 4.0, "mscale": 1.0,
                    "mscale_all_dim": 0.4, "original_max_position_embeddings": 64,
                    "rope_theta": 20_000.0, "rope_type": "yarn", "truncate": false
                },
                "rope_scaling": null
            }),
        ),
        variant("mistral", "everything", json!({ "sliding_window": null })),
        variant(
            "qwen3",
            "listed",
            json!({
                "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 24,
                "use_sliding_window": true
            }),
        ),
        variant(
            "gemma",
            "tanh",
            json!({ "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh" }),
        ),
        variant(
            "gemma2",
            "uncapped",
            json!({ "attn_logit_softcapping": null, "final_logit_softcapping": null }),
        ),
        variant("gemma3_text", "capped", json!({ "final_logit_softcapping": 3.0 })),
        variant(
            "phi3",
            "window",
            json!({
                "partial_rotary_factor": 0.75, "rope_scaling": null, "sliding_window": 24
            }),
        ),
        without(&["rope_theta"], variant("mixtral", "window", json!({ "sliding_window": 24 }))),
        variant(
            "qwen3_moe",
            "shares",
            json!({ "norm_topk_prob": false, "use_sliding_window": false }),
        ),
    ]
}
