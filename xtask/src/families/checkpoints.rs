//! Which checkpoints there are: their configs, and what their tensors are like.
//!
//! Windows and lengths are small, so that a text of a hundred tokens crosses them.

use super::listing::{self, Listing, Qkv};
use serde_json::{Value, json};

/// A family's config and tensors.
pub(super) struct Checkpoint {
    pub(super) folder: &'static str,
    pub(super) config: Value,
    pub(super) listing: Listing,
}

/// Every checkpoint of `testdata/families`.
pub(super) fn checkpoints() -> Vec<Checkpoint> {
    let odd = Qkv { heads: 6, kv_heads: 3, head_dim: 16 };
    let even = Qkv { heads: 4, kv_heads: 2, head_dim: 16 };
    let narrow = Qkv { heads: 8, kv_heads: 1, head_dim: 8 };
    let own_head = |config: Value| with(config, json!({ "tie_word_embeddings": false }));
    vec![
        Checkpoint {
            folder: "llama",
            config: own_head(with(
                config("llama", "LlamaForCausalLM", narrow),
                json!({
                    "attention_bias": true, "mlp_bias": true, "rope_theta": 500_000.0,
                    "rope_scaling": {
                        "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                        "original_max_position_embeddings": 64, "rope_type": "llama3"
                    }
                }),
            )),
            listing: Listing::llama_like(narrow)
                .biased(&["q", "k", "v", "o", "gate", "up", "down"]),
        },
        Checkpoint {
            folder: "llama-tied",
            config: with(
                config("llama", "LlamaForCausalLM", even),
                json!({
                    "rope_scaling": { "type": "linear", "factor": 4.0 }, "tie_word_embeddings": true
                }),
            ),
            listing: Listing::llama_like(even).tied(),
        },
        Checkpoint { folder: "llama-fp8", config: fp8_config(), listing: Listing::fp8() },
        Checkpoint {
            folder: "mistral",
            config: own_head(with(
                config("mistral", "MistralForCausalLM", odd),
                json!({ "sliding_window": 24 }),
            )),
            listing: Listing::llama_like(odd),
        },
        Checkpoint {
            folder: "qwen2",
            config: own_head(with(
                config("qwen2", "Qwen2ForCausalLM", odd),
                json!({
                    "max_window_layers": 1, "sliding_window": 24, "use_sliding_window": true,
                    "rope_scaling": {
                        "factor": 4.0, "original_max_position_embeddings": 64, "type": "yarn"
                    }
                }),
            )),
            listing: Listing::llama_like(odd).biased(&["q", "k", "v"]),
        },
        Checkpoint {
            folder: "qwen3",
            config: with(
                config("qwen3", "Qwen3ForCausalLM", odd),
                json!({ "attention_bias": false, "tie_word_embeddings": true }),
            ),
            listing: Listing::llama_like(odd).head_norms().tied(),
        },
        Checkpoint {
            folder: "gemma",
            config: with(
                config("gemma", "GemmaForCausalLM", odd),
                json!({ "hidden_act": "gelu", "hidden_activation": null, "rms_norm_eps": 1e-3 }),
            ),
            listing: Listing::llama_like(odd).tied().norms_from_one().steep_gates(),
        },
        Checkpoint {
            folder: "gemma2",
            config: with(
                config("gemma2", "Gemma2ForCausalLM", even),
                json!({
                    "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 24,
                    "sliding_window": 24, "attn_logit_softcapping": 0.5, "final_logit_softcapping": 3.0
                }),
            ),
            listing: Listing::llama_like(even).sandwich_norms().tied().norms_from_one(),
        },
        Checkpoint {
            folder: "gemma3_text",
            config: with(
                config("gemma3_text", "Gemma3ForCausalLM", even),
                json!({
                    "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 24,
                    "sliding_window": 24, "sliding_window_pattern": 2, "rope_theta": 1_000_000.0,
                    "rope_local_base_freq": 10_000.0,
                    "rope_scaling": { "factor": 8.0, "rope_type": "linear" }
                }),
            ),
            listing: gemma3_text(even),
        },
        Checkpoint {
            folder: "gemma3",
            config: gemma3_config(even),
            listing: gemma3_text(even).below("language_model.").with_vision_tower(),
        },
        Checkpoint {
            folder: "phi3",
            config: own_head(with(
                config("phi3", "Phi3ForCausalLM", even),
                json!({
                    "original_max_position_embeddings": 64, "partial_rotary_factor": 0.5,
                    "rope_scaling": {
                        "long_factor": [1.0, 1.5, 2.5, 4.0], "short_factor": [1.0, 1.1, 1.2, 1.4],
                        "type": "longrope"
                    }
                }),
            )),
            listing: Listing::phi3(even),
        },
        Checkpoint {
            folder: "olmo2",
            config: own_head(config("olmo2", "Olmo2ForCausalLM", odd)),
            listing: Listing::olmo2(odd),
        },
        Checkpoint {
            folder: "granite",
            config: with(
                config("granite", "GraniteForCausalLM", even),
                json!({
                    "attention_multiplier": 0.25, "embedding_multiplier": 4.0, "logits_scaling": 2.0,
                    "residual_multiplier": 0.5, "rms_norm_eps": 1e-3, "tie_word_embeddings": true
                }),
            ),
            listing: Listing::llama_like(even).tied(),
        },
        Checkpoint {
            folder: "mixtral",
            config: own_head(with(
                config("mixtral", "MixtralForCausalLM", odd),
                json!({ "intermediate_size": 32, "num_local_experts": 3, "num_experts_per_tok": 2 }),
            )),
            listing: Listing::mixtral(odd),
        },
        Checkpoint {
            folder: "qwen3_moe",
            config: own_head(with(
                config("qwen3_moe", "Qwen3MoeForCausalLM", odd),
                json!({
                    "decoder_sparse_step": 1, "mlp_only_layers": [0], "moe_intermediate_size": 32,
                    "norm_topk_prob": true, "num_experts": 5, "num_experts_per_tok": 2,
                    "sliding_window": 40, "use_sliding_window": true
                }),
            )),
            listing: Listing::qwen3_moe(odd),
        },
    ]
}

/// Checkpoints that are made when they are wanted: merged matrices, and experts.
pub(super) fn with_wide_heads() -> Vec<Checkpoint> {
    let wide = Qkv { heads: 4, kv_heads: 2, head_dim: 32 };
    let own_head = json!({ "tie_word_embeddings": false });
    let experts = json!({
        "intermediate_size": 32, "num_local_experts": 3, "num_experts_per_tok": 2,
        "tie_word_embeddings": false
    });
    vec![
        Checkpoint {
            folder: "phi3-wide",
            config: with(config("phi3", "Phi3ForCausalLM", wide), own_head),
            listing: Listing::phi3(wide),
        },
        Checkpoint {
            folder: "mixtral-wide",
            config: with(config("mixtral", "MixtralForCausalLM", wide), experts),
            listing: Listing::mixtral(wide),
        },
    ]
}

fn gemma3_text(qkv: Qkv) -> Listing {
    Listing::llama_like(qkv).head_norms().sandwich_norms().tied().norms_from_one()
}

/// The keys that every family has.
fn config(model_type: &str, architecture: &str, qkv: Qkv) -> Value {
    json!({
        "architectures": [architecture],
        "model_type": model_type,
        "torch_dtype": "bfloat16",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "hidden_act": "silu",
        "hidden_size": listing::HIDDEN,
        "intermediate_size": listing::INTER,
        "num_hidden_layers": listing::LAYERS,
        "num_attention_heads": qkv.heads,
        "num_key_value_heads": qkv.kv_heads,
        "head_dim": qkv.head_dim,
        "vocab_size": listing::VOCAB,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0
    })
}

fn gemma3_config(qkv: Qkv) -> Value {
    let mut text = with(
        config("gemma3_text", "Gemma3ForCausalLM", qkv),
        json!({
            "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 16,
            "layer_types": ["full_attention", "sliding_attention"], "sliding_window": 24,
            "rope_parameters": {
                "full_attention": { "rope_type": "default", "rope_theta": 500_000.0 },
                "sliding_attention": { "rope_type": "default", "rope_theta": 5_000.0 }
            }
        }),
    );
    if let Some(text) = text.as_object_mut() {
        text.retain(|key, _| {
            !["architectures", "hidden_act", "rope_theta", "torch_dtype"].contains(&key.as_str())
        });
    }
    json!({
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "torch_dtype": "bfloat16",
        "boi_token_index": 91,
        "eoi_token_index": 92,
        "image_token_index": 90,
        "mm_tokens_per_image": 4,
        "text_config": text,
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": listing::VISION_HIDDEN,
            "image_size": 8,
            "intermediate_size": listing::VISION_INTER,
            "num_attention_heads": 2,
            "num_channels": 3,
            "num_hidden_layers": 1,
            "patch_size": 4,
            "vision_use_head": false
        }
    })
}

fn fp8_config() -> Value {
    with(
        config("llama", "LlamaForCausalLM", listing::FP8_QKV),
        json!({
            "hidden_size": listing::FP8_HIDDEN,
            "intermediate_size": listing::FP8_INTER,
            "tie_word_embeddings": true,
            "quantization_config": {
                "activation_scheme": "dynamic",
                "fmt": "e4m3",
                "modules_to_not_convert": ["lm_head"],
                "quant_method": "fp8",
                "weight_block_size": [128, 128]
            }
        }),
    )
}

/// `config` with the keys of `changes`, those that are there already in their old place.
pub(super) fn with(mut config: Value, changes: Value) -> Value {
    if let (Some(config), Value::Object(changes)) = (config.as_object_mut(), changes) {
        config.extend(changes);
    }
    config
}
