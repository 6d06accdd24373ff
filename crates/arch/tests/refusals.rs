//! What does not fit its family is refused, in words that name it.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod checkpoints;

use checkpoints::{Checkpoint, checkpoint};
use llmopt_arch::Model;
use llmopt_tensor::{Dtype, TensorMeta};
use serde_json::{Value, json};

/// The message and the hint that a changed checkpoint gives.
fn check(folder: &str, change: impl FnOnce(&mut Checkpoint), message: &str, hint: Option<&str>) {
    let mut checkpoint = checkpoint(folder);
    change(&mut checkpoint);
    let error = Model::bind(Some(&checkpoint.config), &checkpoint.tensors).expect_err(message);
    assert_eq!((error.to_string().as_str(), error.hint()), (message, hint));
}

fn set(key: &'static str, value: Value) -> impl FnOnce(&mut Checkpoint) {
    move |checkpoint| drop(checkpoint.config.insert(key.to_owned(), value))
}

fn replace(
    name: &'static str,
    dtype: Dtype,
    shape: &'static [usize],
) -> impl FnOnce(&mut Checkpoint) {
    move |checkpoint| {
        let meta = TensorMeta::new(dtype, shape).unwrap();
        *checkpoint.tensors.get_mut(name).unwrap() = meta;
    }
}

fn remove(name: &'static str) -> impl FnOnce(&mut Checkpoint) {
    move |checkpoint| drop(checkpoint.tensors.remove(name).unwrap())
}

#[test]
fn shapes_that_disagree_with_the_config() {
    let up = "model.layers.0.mlp.up_proj.weight";
    check(
        "llama",
        replace(up, Dtype::BF16, &[80, 64]),
        "tensor `model.layers.0.mlp.up_proj.weight` has shape [80, 64], but `llama` expects [96, 64]",
        Some(
            "`intermediate_size` in `config.json` is 96; was this checkpoint pruned, or given tokens, without updating it?",
        ),
    );
    check(
        "llama",
        replace(up, Dtype::BF16, &[96, 64, 1]),
        "tensor `model.layers.0.mlp.up_proj.weight` has shape [96, 64, 1], but `llama` expects [96, 64]",
        None,
    );
    check(
        "phi3",
        set("num_key_value_heads", json!(6)),
        "tensor `model.layers.0.self_attn.qkv_proj.weight` has shape [128, 64], but `phi3` expects [256, 64]",
        Some(
            "`num_attention_heads` in `config.json` is 4, `head_dim` is 16, `num_key_value_heads` is 6; \
             was this checkpoint pruned, or given tokens, without updating it?",
        ),
    );
    check(
        "qwen3",
        set("head_dim", Value::Null),
        "tensor `model.layers.0.self_attn.q_proj.weight` has shape [96, 64], but `qwen3` expects [768, 64]",
        Some(
            "`num_attention_heads` in `config.json` is 6, `head_dim` is not in `config.json` and taken \
             as 128; was this checkpoint pruned, or given tokens, without updating it?",
        ),
    );
    check(
        "gemma3",
        |checkpoint| checkpoint.config["text_config"]["intermediate_size"] = json!(95),
        "tensor `language_model.model.layers.0.mlp.gate_proj.weight` has shape [96, 64], but `gemma3` \
         expects [95, 64]",
        Some(
            "`text_config.intermediate_size` in `config.json` is 95; was this checkpoint pruned, or given tokens, \
             without updating it?",
        ),
    );
}

#[test]
fn tensors_that_are_missing() {
    let missing = |tensor: &str, family: &str| {
        format!("tensor `{tensor}` is missing, which `{family}` expects")
    };
    let tensor = "model.layers.1.mlp.up_proj.weight";
    check("llama", remove(tensor), &missing(tensor, "llama"), None);
    let tensor = "model.layers.1.mlp.up_proj.bias";
    let hint = Some("`mlp_bias` in `config.json` is true");
    check("llama", remove(tensor), &missing(tensor, "llama"), hint);
    let tensor = "model.layers.1.self_attn.v_proj.bias";
    check("qwen2", remove(tensor), &missing(tensor, "qwen2"), None);
    let hint =
        "`tie_word_embeddings` is not true in `config.json`, so the head is a tensor of its own";
    check("llama", remove("lm_head.weight"), &missing("lm_head.weight", "llama"), Some(hint));
    check(
        "llama",
        set("num_hidden_layers", json!(3)),
        &missing("model.layers.2.input_layernorm.weight", "llama"),
        Some("`num_hidden_layers` in `config.json` is 3, but the checkpoint holds 2 layers"),
    );
    check(
        "mixtral",
        remove("model.layers.0.block_sparse_moe.experts.1.w3.weight"),
        &missing("model.layers.0.block_sparse_moe.experts.1.w3.weight", "mixtral"),
        None,
    );
}

/// The first layer or expert that is not there ends the search, however many the config counts.
#[test]
fn absurd_sizes() {
    check(
        "llama",
        set("num_hidden_layers", json!(1_000_000_000_000_u64)),
        "tensor `model.layers.2.input_layernorm.weight` is missing, which `llama` expects",
        Some(
            "`num_hidden_layers` in `config.json` is 1000000000000, but the checkpoint holds 2 layers",
        ),
    );
    check(
        "mixtral",
        |checkpoint| {
            set("num_local_experts", json!(1_000_000_000_000_u64))(checkpoint);
            for layer in ["model.layers.0", "model.layers.1"] {
                let gate = TensorMeta::new(Dtype::BF16, [1_000_000_000_000, 64]).unwrap();
                checkpoint.tensors.insert(format!("{layer}.block_sparse_moe.gate.weight"), gate);
            }
        },
        "tensor `model.layers.0.block_sparse_moe.experts.3.w1.weight` is missing, which `mixtral` expects",
        Some(
            "`num_local_experts` in `config.json` is 1000000000000, but the checkpoint holds 3 experts",
        ),
    );
    check(
        "llama",
        set("num_attention_heads", json!(u64::MAX)),
        "the sizes in `config.json` are absurd: the shape of `model.layers.0.self_attn.q_proj.weight` \
         overflows",
        Some("`num_attention_heads` in `config.json` is 18446744073709551615, `head_dim` is 8"),
    );
    for zero in ["hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size"] {
        let message =
            format!("`{zero}` in `config.json` is 0, expected a whole number of at least 1");
        check("llama", set(zero, json!(0)), &message, None);
    }
}

#[test]
fn configs_that_the_family_does_not_describe() {
    check(
        "llama",
        set("hidden_act", json!("gelu")),
        "`hidden_act` in `config.json` is \"gelu\", but `llama` expects \"silu\" or \"swish\"",
        None,
    );
    check(
        "llama",
        |checkpoint| drop(checkpoint.config.remove("hidden_size")),
        "`hidden_size` is missing in `config.json`, and `llama` has no default for it",
        None,
    );
    check(
        "llama",
        set("tie_word_embeddings", json!("no")),
        "`tie_word_embeddings` in `config.json` is \"no\", expected true or false",
        None,
    );
    check(
        "qwen3_moe",
        set("mlp_only_layers", json!(0)),
        "`mlp_only_layers` in `config.json` is 0, expected a list of whole numbers",
        None,
    );
    check(
        "llama",
        set("model_type", json!(["llama"])),
        "`model_type` in `config.json` is [\"llama\"], expected a string",
        None,
    );
}

#[test]
fn families_with_transposed_linears() {
    let cannot = "stores its linears transposed (Conv1D), which compressed-tensors cannot express";
    check("llama", set("model_type", json!("gpt2")), &format!("family `gpt2` {cannot}"), None);
    check(
        "llama",
        set("model_type", json!("imagegpt")),
        &format!("family `imagegpt` {cannot}"),
        None,
    );
    let by_architecture = |checkpoint: &mut Checkpoint| {
        checkpoint.config.remove("model_type");
        set("architectures", json!(["GPT2LMHeadModel"]))(checkpoint);
    };
    check("llama", by_architecture, &format!("family `GPT2LMHeadModel` {cannot}"), None);
}

#[test]
fn weights_of_other_dtypes() {
    let tensor = "model.layers.0.self_attn.k_proj.weight";
    let quantized = Some("is this checkpoint already quantized?");
    for (dtype, name) in [(Dtype::I8, "I8"), (Dtype::F8E5M2, "F8_E5M2")] {
        let message = format!("tensor `{tensor}` has dtype {name}, expected F32, F16 or BF16");
        check("llama", replace(tensor, dtype, &[8, 64]), &message, quantized);
    }
    check(
        "llama-fp8",
        remove("model.layers.0.self_attn.k_proj.weight_scale_inv"),
        "tensor `model.layers.0.self_attn.k_proj.weight` has dtype F8_E4M3, but \
         neither `model.layers.0.self_attn.k_proj.weight_scale_inv` nor \
         `model.layers.0.self_attn.k_proj.weight_scale` is there",
        None,
    );
}

#[test]
fn block_scales_that_do_not_fit() {
    let scale = "model.layers.0.mlp.up_proj.weight_scale_inv";
    let hint = Some("`quantization_config.weight_block_size` in `config.json` gives the block");
    let message = |found, expected| {
        format!("tensor `{scale}` is {found}, expected F32, F16 or BF16 {expected} for blocks of ")
    };
    let down = replace(scale, Dtype::F32, &[1, 2]);
    check("llama-fp8", down, &(message("F32 [1, 2]", "[2, 1]") + "[128, 128]"), hint);
    let bytes = replace(scale, Dtype::U8, &[2, 1]);
    check("llama-fp8", bytes, &(message("U8 [2, 1]", "[2, 1]") + "[128, 128]"), hint);
    let block = |value: Value| {
        move |checkpoint: &mut Checkpoint| {
            checkpoint.config["quantization_config"]["weight_block_size"] = value;
        }
    };
    check(
        "llama-fp8",
        block(json!([64, 128])),
        "tensor `model.layers.0.mlp.down_proj.weight_scale_inv` is F32 [1, 2], expected F32, F16 or BF16 \
         [2, 2] for blocks of [64, 128]",
        hint,
    );
    check(
        "llama-fp8",
        block(json!([128, 0])),
        "`quantization_config.weight_block_size` in `config.json` is [128,0], expected two whole numbers \
         of at least 1",
        None,
    );
}
