//! Faults of what a quantized module stores.

use super::{Case, DOWN, Q, case, meta, reshape, retype};
use crate::artifact::Kind;
use llmopt_tensor::Dtype;
use serde_json::Value;

pub(crate) const CASES: &[Case] = &[
    case(
        "columns in another order",
        Kind::W4,
        &[("extra", "model.layers.1.self_attn.q_proj.weight_g_idx")],
        |copy| {
            copy.rewrite(|file| {
                file.insert(&format!("{Q}.weight_g_idx"), meta(Dtype::I32, &[128]), vec![0; 512])
            });
        },
    ),
    case(
        "zero points of a symmetric scheme",
        Kind::W4,
        &[("extra", "model.layers.1.self_attn.q_proj.weight_zero_point")],
        |copy| {
            let meta = meta(Dtype::I32, &[16, 1]);
            copy.rewrite(|file| {
                file.insert(&format!("{Q}.weight_zero_point"), meta.clone(), vec![0x88; 64]);
            });
        },
    ),
    case(
        "no zero points in an asymmetric scheme",
        Kind::Asymmetric,
        &[("missing", "model.layers.1.self_attn.q_proj.weight_zero_point")],
        |copy| copy.rewrite(|file| file.remove(&format!("{Q}.weight_zero_point"))),
    ),
    case(
        "no scales",
        Kind::W4,
        &[("missing", "model.layers.1.self_attn.q_proj.weight_scale")],
        |copy| copy.rewrite(|file| file.remove(&format!("{Q}.weight_scale"))),
    ),
    case(
        "no codes",
        Kind::W4,
        &[("missing", "model.layers.1.self_attn.q_proj.weight_packed")],
        |copy| copy.rewrite(|file| file.remove(&format!("{Q}.weight_packed"))),
    ),
    case(
        "no shape",
        Kind::W8,
        &[("missing", "model.layers.1.self_attn.q_proj.weight_shape")],
        |copy| copy.rewrite(|file| file.remove(&format!("{Q}.weight_shape"))),
    ),
    case(
        "a wrong shape",
        Kind::W4,
        &[("shape", "model.layers.1.self_attn.q_proj.weight_shape")],
        |copy| {
            let shape = [128u64, 136].map(u64::to_le_bytes).concat();
            copy.rewrite(|file| *file.bytes(&format!("{Q}.weight_shape")) = shape.clone());
        },
    ),
    case(
        "rows of one word too few",
        Kind::W4,
        &[("shape", "model.layers.1.self_attn.q_proj.weight_packed")],
        |copy| {
            let meta = meta(Dtype::I32, &[128, 15]);
            copy.rewrite(|file| {
                file.insert(&format!("{Q}.weight_packed"), meta.clone(), vec![0; 128 * 15 * 4]);
            });
        },
    ),
    case(
        "codes of another type",
        Kind::W4,
        &[("dtype", "model.layers.1.self_attn.q_proj.weight_packed")],
        |copy| retype(copy, &format!("{Q}.weight_packed"), Dtype::U32),
    ),
    case(
        "scales of another type",
        Kind::W8,
        &[("dtype", "model.layers.1.self_attn.q_proj.weight_scale")],
        |copy| retype(copy, &format!("{Q}.weight_scale"), Dtype::I16),
    ),
    case(
        "channel scales of one axis",
        Kind::Fp8,
        &[("shape", "model.layers.1.self_attn.q_proj.weight_scale")],
        |copy| reshape(copy, &format!("{Q}.weight_scale"), &[128]),
    ),
    case(
        "block scales per channel",
        Kind::Fp8Block,
        &[("shape", "model.layers.0.mlp.down_proj.weight_scale")],
        |copy| reshape(copy, &format!("{DOWN}.weight_scale"), &[3, 1]),
    ),
    case(
        "a dense weight beside the quantized one",
        Kind::W4,
        &[("extra", "model.layers.1.self_attn.q_proj.weight")],
        |copy| {
            let bytes = vec![0; 128 * 128 * 2];
            copy.rewrite(|file| {
                file.insert(&format!("{Q}.weight"), meta(Dtype::BF16, &[128, 128]), bytes.clone());
            });
        },
    ),
    case(
        "a static scale that the scheme does not have",
        Kind::W8A8,
        &[("extra", "model.layers.1.self_attn.q_proj.input_scale")],
        |copy| {
            copy.rewrite(|file| {
                file.insert(&format!("{Q}.input_scale"), meta(Dtype::BF16, &[1]), vec![0x80, 0x3f]);
            });
        },
    ),
    case(
        "quantized without a config",
        Kind::PartlyDense,
        &[("config", "quantization_config")],
        |copy| {
            copy.configure("quantization_config", Value::Null);
        },
    ),
];
