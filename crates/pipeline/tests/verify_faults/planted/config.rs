//! Faults of `quantization_config` by itself.

use super::{Case, GROUP, case};
use crate::artifact::Kind;
use serde_json::{Value, json};

pub(crate) const CASES: &[Case] = &[
    case("no status", Kind::W4, &[("config", "quantization_status")], |copy| {
        copy.configure("quantization_config.quantization_status", Value::Null);
    }),
    case(
        "an unknown key",
        Kind::W4,
        &[("config", "config_groups.group_0.weights.rounding")],
        |copy| copy.configure(&format!("{GROUP}.weights.rounding"), json!("nearest")),
    ),
    case("a format that does not exist", Kind::W4, &[("config", "format")], |copy| {
        copy.configure("quantization_config.format", json!("packed-quantized"));
    }),
    case("no format", Kind::W4, &[("config", "format")], |copy| {
        copy.configure("quantization_config.format", Value::Null);
    }),
    case("no format in a group", Kind::W4, &[("config", "config_groups.group_0.format")], |copy| {
        copy.configure(&format!("{GROUP}.format"), Value::Null)
    }),
    case("an online rotation", Kind::W4, &[("config", "transform_config")], |copy| {
        let rotation = json!({"config_groups": {"u": {"type": "hadamard", "apply": []}}});
        copy.configure("quantization_config.transform_config", rotation);
    }),
    case("a legacy sparse format", Kind::W4, &[("config", "sparsity_config")], |copy| {
        copy.configure("quantization_config.sparsity_config", json!({"targets": ["Linear"]}));
    }),
    case("another method", Kind::W4, &[("config", "quant_method")], |copy| {
        copy.configure("quantization_config.quant_method", json!("gptq"));
    }),
    case(
        "an expression that looks around",
        Kind::W4,
        &[("config", "config_groups.group_0.targets")],
        |copy| copy.configure(&format!("{GROUP}.targets"), json!(["re:(?!lm_head).*"])),
    ),
    case("a group of nothing", Kind::W4, &[("config", "config_groups")], |copy| {
        copy.configure("quantization_config.config_groups", json!({}));
    }),
    case("a config that is no object", Kind::Bare, &[("config", "quantization_config")], |copy| {
        copy.rewrite(|file| {
            file.metadata.insert("quantization_config".to_owned(), "{".to_owned());
        });
    }),
];
