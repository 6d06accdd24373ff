//! Faults of the model that the tensors make.

use super::{Case, DOWN, case, meta};
use crate::artifact::Kind;
use llmopt_tensor::Dtype;
use serde_json::json;

pub(crate) const CASES: &[Case] = &[
    case("a norm is missing", Kind::W4, &[("missing", "model.norm.weight")], |copy| {
        copy.rewrite(|file| file.remove("model.norm.weight"));
    }),
    case(
        "a whole linear is missing",
        Kind::W4,
        &[("missing", "model.layers.0.mlp.down_proj.weight")],
        |copy| {
            copy.rewrite(|file| {
                for part in ["weight_packed", "weight_scale", "weight_shape"] {
                    file.remove(&format!("{DOWN}.{part}"));
                }
            });
        },
    ),
    case("a tensor of no model", Kind::W4, &[("unknown", "model.layers.0.extra")], |copy| {
        copy.rewrite(|file| {
            file.insert("model.layers.0.extra", meta(Dtype::F32, &[1]), vec![0; 4])
        });
    }),
    case(
        "fewer layers than counted",
        Kind::W4,
        &[("missing", "model.layers.4.input_layernorm.weight")],
        |copy| {
            copy.configure("num_hidden_layers", json!(5));
        },
    ),
    case("more layers than counted", Kind::W4, &[("layers", "num_hidden_layers")], |copy| {
        copy.configure("num_hidden_layers", json!(3));
    }),
    case("another width", Kind::W4, &[("shape", "model.layers.0.mlp.gate_proj.weight")], |copy| {
        copy.configure("intermediate_size", json!(256));
    }),
    case("absurd sizes", Kind::W4, &[("model", "hidden_size")], |copy| {
        copy.configure("hidden_size", json!(-1));
    }),
    case("another tied head", Kind::W4, &[("tied", "lm_head.weight")], |copy| {
        copy.configure("tie_word_embeddings", json!(true));
    }),
    case("a quantized head of a tied model", Kind::WithHead, &[("tied", "lm_head")], |copy| {
        copy.configure("tie_word_embeddings", json!(true));
    }),
    case("no head, but not tied", Kind::Tied, &[("missing", "lm_head.weight")], |copy| {
        copy.configure("tie_word_embeddings", json!(false));
    }),
];
