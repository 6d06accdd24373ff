//! Faults that show only beside the source.

use super::{Case, Q, compared, meta, patch, retype};
use crate::artifact::Kind;
use llmopt_tensor::Dtype;

pub(crate) const CASES: &[Case] = &[
    compared("a bit of a kept tensor", Kind::W4, &[("changed", "model.norm.weight")], |copy| {
        patch(copy, "model.norm.weight", 0, &[0x11]);
    }),
    compared(
        "a kept tensor of another type",
        Kind::W4,
        &[("changed", "model.norm.weight")],
        |copy| {
            retype(copy, "model.norm.weight", Dtype::F16);
        },
    ),
    compared(
        "swapped nibbles",
        Kind::W4,
        &[("error", "model.layers.1.self_attn.q_proj.weight")],
        |copy| {
            copy.rewrite(|file| {
                let codes = file.bytes(&format!("{Q}.weight_packed"));
                codes.iter_mut().for_each(|byte| *byte = byte.rotate_left(4));
            });
        },
    ),
    compared(
        "rows in another order",
        Kind::W8,
        &[("error", "model.layers.1.self_attn.q_proj.weight")],
        |copy| {
            copy.rewrite(|file| file.bytes(&format!("{Q}.weight_packed")).rotate_left(128));
        },
    ),
    compared(
        "shifted zero points",
        Kind::Asymmetric,
        &[("error", "model.layers.1.self_attn.q_proj.weight")],
        |copy| {
            copy.rewrite(|file| {
                let zeros = file.bytes(&format!("{Q}.weight_zero_point"));
                zeros.iter_mut().for_each(|byte| *byte = byte.wrapping_sub(0x33));
            });
        },
    ),
    compared(
        "scales of the neighbours",
        Kind::Fp8,
        &[("error", "model.layers.1.self_attn.q_proj.weight")],
        |copy| {
            copy.rewrite(|file| {
                let scales = file.bytes(&format!("{Q}.weight_scale"));
                scales.chunks_mut(2).for_each(|scale| scale[0] ^= 0x40);
            });
        },
    ),
    compared("a lost tensor", Kind::Bare, &[("lost", "model.norm.weight")], |copy| {
        copy.rewrite(|file| file.remove("model.norm.weight"));
    }),
    compared("an added tensor", Kind::Bare, &[("added", "model.extra")], |copy| {
        copy.rewrite(|file| file.insert("model.extra", meta(Dtype::F32, &[1]), vec![0; 4]));
    }),
];
