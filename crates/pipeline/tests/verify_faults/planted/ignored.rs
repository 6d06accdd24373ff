//! Faults of what is quantized, and of what is merged.

use super::{Case, DOWN, Q, case, meta};
use crate::artifact::Kind;
use llmopt_pipeline::Runtime;
use llmopt_tensor::Dtype;
use serde_json::json;

pub(crate) const CASES: &[Case] = &[
    case("the head is not in `ignore`", Kind::W4, &[("ignore", "lm_head")], |copy| {
        copy.ignore(|list| list.retain(|entry| !entry.to_string().contains("lm_head")));
    }),
    case(
        "the head of a tied model is not in `ignore`",
        Kind::Tied,
        &[("ignore", "lm_head")],
        |copy| {
            copy.ignore(Vec::clear);
        },
    ),
    case(
        "a dense linear is not in `ignore`",
        Kind::PartlyDense,
        &[("ignore", "model.layers.0.mlp.down_proj")],
        |copy| copy.ignore(|list| list.retain(|entry| entry != DOWN)),
    ),
    case(
        "routers are not in `ignore`",
        Kind::Mixtral,
        &[
            ("ignore", "model.layers.0.block_sparse_moe.gate"),
            ("ignore", "model.layers.1.block_sparse_moe.gate"),
        ],
        |copy| copy.ignore(|list| list.retain(|entry| !entry.to_string().contains("gate"))),
    ),
    case("a quantized linear is in `ignore`", Kind::W4, &[("ignore", DOWN)], |copy| {
        copy.ignore(|list| list.push(json!(DOWN)));
    }),
    case(
        "one of q, k and v is in `ignore`",
        Kind::W4,
        &[("ignore", Q), ("fused", "model.layers.1.self_attn.qkv_proj")],
        |copy| copy.ignore(|list| list.push(json!(Q))),
    ),
    case(
        "an expert in other groups than the first",
        Kind::Mixtral,
        &[("fused", "model.layers.1.block_sparse_moe.experts")],
        |copy| {
            let expert = "model.layers.1.block_sparse_moe.experts.1.w1";
            copy.rewrite(|file| {
                let scales = file.bytes(&format!("{expert}.weight_scale")).clone();
                let rows = scales.len() / 2;
                let repeated = scales.chunks(2).flat_map(|scale| scale.repeat(2)).collect();
                let shape = meta(Dtype::BF16, &[rows, 2]);
                file.insert(&format!("{expert}.weight_scale"), shape, repeated);
            });
            copy.edit("config.json", |config| {
                let groups = &mut config["quantization_config"]["config_groups"];
                let mut group = groups["group_0"].clone();
                group["targets"] = json!([expert]);
                group["weights"]["strategy"] = json!("group");
                group["weights"]["group_size"] = json!(32);
                groups["group_1"] = group;
            });
        },
    ),
    case(
        "k in other groups than q and v",
        Kind::W4,
        &[("fused", "model.layers.1.self_attn.qkv_proj")],
        |copy| {
            let k = "model.layers.1.self_attn.k_proj";
            copy.rewrite(|file| {
                let scales = file.bytes(&format!("{k}.weight_scale")).clone();
                let repeated = scales.chunks(2).flat_map(|scale| scale.repeat(4)).collect();
                file.insert(&format!("{k}.weight_scale"), meta(Dtype::BF16, &[64, 4]), repeated);
            });
            copy.edit("config.json", |config| {
                let groups = &mut config["quantization_config"]["config_groups"];
                let mut group = groups["group_0"].clone();
                group["targets"] = json!([k]);
                group["weights"]["group_size"] = json!(32);
                groups["group_1"] = group;
            });
        },
    ),
    case("rows merged in the middle of a block", Kind::Fp8Block, &[("runtime", "vllm")], |copy| {
        copy.options.runtimes = vec![Runtime::Vllm]
    }),
];
