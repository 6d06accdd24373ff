//! Faults that show only in the bytes.

use super::{Case, DOWN, Q, case, patch};
use crate::artifact::Kind;

pub(crate) const CASES: &[Case] = &[
    case(
        "a scale is NaN",
        Kind::W4,
        &[("scale", "model.layers.1.self_attn.q_proj.weight_scale")],
        |copy| {
            patch(copy, &format!("{Q}.weight_scale"), 20, &[0xc0, 0x7f]);
        },
    ),
    case(
        "a scale is infinite",
        Kind::Fp8,
        &[("scale", "model.layers.1.self_attn.q_proj.weight_scale")],
        |copy| {
            patch(copy, &format!("{Q}.weight_scale"), 20, &[0x80, 0x7f]);
        },
    ),
    case(
        "a scale is zero",
        Kind::W8A8,
        &[("scale", "model.layers.1.self_attn.q_proj.weight_scale")],
        |copy| {
            patch(copy, &format!("{Q}.weight_scale"), 20, &[0, 0]);
        },
    ),
    case(
        "a block's scale is zero",
        Kind::Fp8Block,
        &[("scale", "model.layers.0.mlp.down_proj.weight_scale")],
        |copy| {
            patch(copy, &format!("{DOWN}.weight_scale"), 2, &[0, 0]);
        },
    ),
    case(
        "a code is NaN",
        Kind::Fp8,
        &[("code", "model.layers.1.self_attn.q_proj.weight")],
        |copy| {
            patch(copy, &format!("{Q}.weight"), 777, &[0xff]);
        },
    ),
    case("a norm is infinite", Kind::W8, &[("nonfinite", "model.norm.weight")], |copy| {
        patch(copy, "model.norm.weight", 6, &[0x80, 0xff]);
    }),
    case("an embedding is NaN", Kind::Fp8, &[("nonfinite", "model.embed_tokens.weight")], |copy| {
        patch(copy, "model.embed_tokens.weight", 2000, &[0xc0, 0x7f]);
    }),
    case("a head is NaN", Kind::W4, &[("nonfinite", "lm_head.weight")], |copy| {
        patch(copy, "lm_head.weight", 0, &[0xff, 0x7f]);
    }),
    case(
        "a dense weight is NaN",
        Kind::PartlyDense,
        &[("nonfinite", "model.layers.0.mlp.down_proj.weight")],
        |copy| {
            patch(copy, &format!("{DOWN}.weight"), 20, &[0xc0, 0x7f]);
        },
    ),
];
