//! Without a family, names and shapes decide.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use llmopt_arch::{BindError, Model, Role};
use llmopt_tensor::{Dtype, TensorMeta};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

fn bound(config: Option<Value>, tensors: &[(&str, Dtype, &[usize])]) -> Result<Model, BindError> {
    let meta = |&(name, dtype, shape): &(&str, Dtype, &[usize])| {
        (name.to_owned(), TensorMeta::new(dtype, shape).unwrap())
    };
    let tensors: BTreeMap<String, TensorMeta> = tensors.iter().map(meta).collect();
    let config: Option<Map<String, Value>> =
        config.map(|config| serde_json::from_value(config).unwrap());
    Model::bind(config.as_ref(), &tensors)
}

fn modules(model: &Model) -> Vec<&str> {
    model.linear_weights().iter().map(|site| site.module.as_str()).collect()
}

#[test]
fn matrices_that_multiply_hidden_states_are_sites() {
    let (half, wide): (_, &[usize]) = (Dtype::F16, &[8, 4]);
    let model = bound(
        None,
        &[
            ("blocks.10.attn.q_proj.weight", half, wide),
            ("blocks.2.attn.q_proj.weight", half, wide),
            ("blocks.2.attn.k_proj.weight", half, wide),
            ("blocks.2.mlp.experts.0.w1.weight", Dtype::F32, wide),
            ("blocks.2.mlp.gate.weight", half, wide),
            ("blocks.2.norm.weight", half, &[4]),
            ("blocks.2.empty.weight", half, &[0, 4]),
            ("blocks.2.codes.weight", Dtype::U8, wide),
            ("blocks.2.conv.weight", half, &[8, 4, 3]),
            ("blocks.2.f8.weight", Dtype::F8E4M3, &[130, 4]),
            ("blocks.2.f8.weight_scale_inv", Dtype::F32, &[2, 1]),
            ("tok_embeddings.weight", half, wide),
            ("output.weight", half, wide),
            ("audio_tower.layers.0.fc.weight", half, wide),
        ],
    )
    .unwrap();
    let experts = "blocks.2.mlp.experts.0.w1";
    let sites = [
        "blocks.2.attn.k_proj",
        "blocks.2.attn.q_proj",
        "blocks.2.f8",
        experts,
        "blocks.10.attn.q_proj",
    ];
    assert_eq!(modules(&model), sites);
    let fused: Vec<_> =
        model.linear_weights().iter().filter_map(|site| site.fused.as_deref()).collect();
    let qkv = "blocks.2.attn.qkv_proj";
    assert_eq!(fused, [qkv, qkv, "blocks.2.mlp.experts", "blocks.10.attn.qkv_proj"]);
    let dense = [
        "audio_tower.layers.0.fc",
        "blocks.2.codes",
        "blocks.2.empty",
        "blocks.2.mlp.gate",
        "output",
        "tok_embeddings",
    ];
    assert_eq!(model.dense_linears(), dense);
    let routers = [
        "re:.*router",
        r"re:(.*\.)?(gate|gating|moe_gate|shared_expert_gate|shared_experts_gate)(\.|$)",
    ];
    let patterns = ["re:.*audio_tower.*", "re:.*lm_head"];
    assert_eq!(model.ignore_patterns(), [patterns, routers].concat());
    let optional: Vec<_> =
        model.optional_linear_weights().iter().map(|site| site.module.as_str()).collect();
    assert_eq!(optional, ["output", "tok_embeddings"]);
    assert_eq!((model.layers(), model.family().is_none(), model.tied()), (2, true, None));
    assert_eq!(model.get("blocks.2.codes.weight").unwrap().role, Role::Other);
}

#[test]
fn a_tied_head_is_ignored_even_when_it_is_absent() {
    let config = json!({ "model_type": "nobody", "tie_word_embeddings": true });
    let tensors: &[(&str, Dtype, &[usize])] = &[
        ("model.embed_tokens.weight", Dtype::F32, &[8, 4]),
        ("model.layers.0.fc.weight", Dtype::F32, &[8, 4]),
    ];
    let model = bound(Some(config), tensors).unwrap();
    assert_eq!(model.tied(), Some(("model.embed_tokens.weight", "lm_head.weight")));
    assert!(model.dense_linears().iter().any(|module| module == "lm_head"));
}

/// gpt2 keeps `[inputs, outputs]`; the families that took over its names but not its Conv1D keep
/// `[outputs, inputs]`, and the length of the bias tells.
#[test]
fn transposed_weights_are_refused_by_their_bias_or_their_name() {
    let check = |tensors: &[(&str, Dtype, &[usize])], expected: Result<&[&str], &str>| {
        let found = bound(None, tensors).map_err(|error| error.to_string());
        let found = found.as_ref().map(modules).map_err(String::as_str);
        assert_eq!(found, expected.map(<[&str]>::to_vec));
    };
    let refused = |tensor| {
        format!(
            "tensor `{tensor}` is stored transposed (Conv1D), which compressed-tensors cannot express"
        )
    };
    let float = Dtype::F32;
    let (attention, bias) = ("h.0.attn.c_attn.weight", "h.0.attn.c_attn.bias");
    check(&[(attention, float, &[4, 12])], Err(&refused(attention)));
    check(&[(attention, float, &[4, 12]), (bias, float, &[12])], Err(&refused(attention)));
    check(&[(attention, float, &[12, 4]), (bias, float, &[12])], Ok(&["h.0.attn.c_attn"]));
    let (mlp, bias) = ("h.0.mlp.c_fc.weight", "h.0.mlp.c_fc.bias");
    check(&[(mlp, float, &[4, 16]), (bias, float, &[16])], Err(&refused(mlp)));
    check(&[(mlp, float, &[16, 4]), (bias, float, &[16])], Ok(&["h.0.mlp.c_fc"]));
    let (square, bias) = ("h.0.attn.c_proj.weight", "h.0.attn.c_proj.bias");
    check(&[(square, float, &[4, 4]), (bias, float, &[4])], Ok(&["h.0.attn.c_proj"]));
}

#[test]
fn nothing_at_all_is_a_model_without_sites() {
    let model = bound(None, &[]).unwrap();
    assert_eq!((model.linear_weights().len(), model.tensors().len(), model.layers()), (0, 0, 0));
}
