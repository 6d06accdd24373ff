//! What a family has and what it has not, as the commands see it.

use crate::dir::Dir;
use crate::synthetic::{Tensor, bf16, safetensors};
use serde_json::{Value, json};

/// Writes a config and tensors of BF16 as `model/`.
fn write_model(dir: &Dir, config: &Value, tensors: &[(&str, &[usize])]) {
    let filled = |(seed, tensor): (u64, &(_, _))| {
        let &(name, shape): &(_, &[usize]) = tensor;
        (name, "BF16", shape, bf16(shape.iter().product(), seed))
    };
    let tensors: Vec<Tensor<'_>> = (0..).zip(tensors).map(filled).collect();
    dir.write("model/config.json", config.to_string().as_bytes());
    dir.write("model/model.safetensors", &safetensors(&tensors));
}

/// Transformers 5.24 calls the router of PhiMoE `mlp.router`, and its class derives from a linear.
#[test]
fn a_router_of_an_unknown_family_is_ignored_under_every_name() {
    let dir = Dir::new();
    let layer = "model.layers.0";
    let names = ["self_attn.q_proj", "block_sparse_moe.gate", "block_sparse_moe.experts.0.w1"]
        .map(|module| format!("{layer}.{module}.weight"));
    let mut tensors: Vec<(&str, &[usize])> = vec![("lm_head.weight", &[96, 64])];
    tensors.extend(names.iter().map(|name| (name.as_str(), [64, 64].as_slice())));
    write_model(&dir, &json!({ "model_type": "phimoe" }), &tensors);
    for scheme in ["--scheme fp8", "--bits 8", "--bits 4"] {
        dir.done(&format!("quantize model {scheme} -o out --force -q"));
        let config = dir.json("out/config.json");
        let routers =
            r"re:(.*\.)?(gate|gating|moe_gate|shared_expert_gate|shared_experts_gate)(\.|$)";
        let gate = format!("{layer}.block_sparse_moe.gate");
        let ignored = json!(["lm_head", gate, "re:.*lm_head", "re:.*router", routers]);
        assert_eq!(config["quantization_config"]["ignore"], ignored);
        dir.done("verify out -q");
    }
}

#[test]
fn the_head_of_an_unknown_family_can_be_quantized() {
    let dir = Dir::new();
    let tensors: [(&str, &[usize]); 2] =
        [("lm_head.weight", &[96, 64]), ("model.layers.0.mlp.up_proj.weight", &[64, 64])];
    write_model(&dir, &json!({ "model_type": "nobody" }), &tensors);
    dir.done("quantize model --lm-head -o out -q");
    assert_eq!(dir.json("out/config.json")["quantization_config"]["ignore"], json!([]));
    dir.done("verify out -q --against model");
}
