//! What is written, literally; what is read; what is refused.

use crate::{QuantizationConfig, lint};
use llmopt_scheme::{Activations, Granularity, Numeric, Scheme};
use serde_json::{Value, json};

fn preset(name: &str) -> Scheme {
    Scheme::preset(name).expect("a preset")
}

fn config(groups: &[(&str, Scheme)], ignore: &[&str]) -> QuantizationConfig {
    let groups = groups.iter().map(|&(target, scheme)| (vec![target.to_owned()], scheme));
    let ignore = ignore.iter().map(|&entry| entry.to_owned()).collect();
    QuantizationConfig::new(groups.collect(), ignore).expect("storable")
}

const FRAME: &str = concat!(
    r#"{"quant_method":"compressed-tensors","version":"VERSION","format":"FORMAT","#,
    r#""quantization_status":"compressed","global_compression_ratio":null,"ignore":["lm_head"],"#,
    r#""kv_cache_scheme":null,"sparsity_config":{},"transform_config":{},"#,
    r#""config_groups":{"group_0":GROUP}}"#,
);

/// compressed-tensors 0.19 accepts these literals and reads the same arguments from them.
#[test]
fn the_full_form_is_what_compressed_tensors_accepts() {
    let check = |scheme, version, group: &str| {
        let json = config(&[("Linear", scheme)], &["lm_head"]).to_json();
        let format = group.split('"').nth(3).expect("the format");
        let frame = FRAME.replace("VERSION", version).replace("FORMAT", format);
        let expected = frame.replace("GROUP", group);
        assert_eq!(json.to_string(), expected);
    };
    check(
        Scheme { symmetric: false, granularity: Granularity::Group(32), ..preset("w4a16") },
        "0.17.0",
        concat!(
            r#"{"format":"pack-quantized","targets":["Linear"],"input_activations":null,"#,
            r#""output_activations":null,"weights":{"num_bits":4,"type":"int","symmetric":false,"#,
            r#""strategy":"group","group_size":32,"dynamic":false,"actorder":null,"#,
            r#""block_structure":null,"observer":null,"observer_kwargs":{},"scale_dtype":null,"#,
            r#""zp_dtype":"torch.int8"}}"#,
        ),
    );
    check(
        Scheme { granularity: Granularity::Channel, ..preset("w3a16") },
        "0.18.0",
        concat!(
            r#"{"format":"pack-quantized","targets":["Linear"],"input_activations":null,"#,
            r#""output_activations":null,"weights":{"num_bits":3,"type":"int","symmetric":true,"#,
            r#""strategy":"channel","group_size":null,"dynamic":false,"actorder":null,"#,
            r#""block_structure":null,"observer":null,"observer_kwargs":{},"scale_dtype":null,"#,
            r#""zp_dtype":null}}"#,
        ),
    );
    check(
        preset("w8a8"),
        "0.17.0",
        concat!(
            r#"{"format":"int-quantized","targets":["Linear"],"input_activations":{"num_bits":8,"#,
            r#""type":"int","symmetric":true,"strategy":"token","group_size":null,"dynamic":true,"#,
            r#""actorder":null,"block_structure":null,"observer":null,"observer_kwargs":{},"#,
            r#""scale_dtype":null,"zp_dtype":null},"output_activations":null,"weights":{"#,
            r#""num_bits":8,"type":"int","symmetric":true,"strategy":"channel","#,
            r#""group_size":null,"dynamic":false,"actorder":null,"block_structure":null,"#,
            r#""observer":null,"observer_kwargs":{},"scale_dtype":null,"zp_dtype":null}}"#,
        ),
    );
    check(
        preset("fp8-block"),
        "0.17.0",
        concat!(
            r#"{"format":"float-quantized","targets":["Linear"],"input_activations":{"#,
            r#""num_bits":8,"type":"float","symmetric":true,"strategy":"group","#,
            r#""group_size":128,"dynamic":true,"actorder":null,"block_structure":null,"#,
            r#""observer":null,"observer_kwargs":{},"scale_dtype":null,"zp_dtype":null},"#,
            r#""output_activations":null,"weights":{"num_bits":8,"type":"float","#,
            r#""symmetric":true,"strategy":"block","group_size":null,"dynamic":false,"#,
            r#""actorder":null,"block_structure":[128,128],"observer":null,"#,
            r#""observer_kwargs":{},"scale_dtype":null,"zp_dtype":null}}"#,
        ),
    );
}

#[test]
fn every_scheme_comes_back_from_its_config() {
    let group = Scheme { granularity: Granularity::Group(32), ..preset("w8a16") };
    let asymmetric = ["w4a16", "w3a16"].map(|name| Scheme { symmetric: false, ..preset(name) });
    let weights_alone = Scheme { activations: Activations::None, ..preset("fp8") };
    let presets = Scheme::NAMES.iter().map(|name| preset(name));
    for scheme in presets.chain(asymmetric).chain([group, weights_alone]) {
        let written = config(&[("Linear", scheme)], &["lm_head", "re:.*gate$"]);
        let read = QuantizationConfig::parse(&written.to_json()).expect("ours");
        assert_eq!((read.groups(), read.ignore()), (written.groups(), written.ignore()));
    }
}

#[test]
fn groups_of_several_formats_are_mixed_precision() {
    let mixed = config(&[("re:.*experts.*", preset("fp8")), ("Linear", preset("w4a16"))], &[]);
    let json = mixed.to_json();
    assert_eq!(json["format"], "mixed-precision");
    assert_eq!(json["config_groups"]["group_0"]["format"], "float-quantized");
    let read = QuantizationConfig::parse(&json).expect("ours");
    let scheme = |module| read.scheme_of(module).map(|group| group.scheme);
    assert_eq!(scheme("model.layers.0.mlp.experts.3.w1"), Some(preset("fp8")));
    assert_eq!(scheme("model.layers.0.self_attn.q_proj"), Some(preset("w4a16")));
}

/// The smallest dictionary that Transformers loads rightly.
fn minimal() -> Value {
    json!({
        "quant_method": "compressed-tensors", "format": "pack-quantized",
        "quantization_status": "compressed", "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4,
            "type": "int", "symmetric": true, "strategy": "group", "group_size": 32}}},
    })
}

#[test]
fn the_minimal_config_is_read() {
    let config = QuantizationConfig::parse(&minimal()).expect("minimal");
    let [group] = config.groups() else { panic!("one group") };
    let expected = Scheme { granularity: Granularity::Group(32), ..preset("w4a16") };
    assert_eq!((group.scheme, group.format), (expected, "pack-quantized"));
    assert_eq!(config.scheme_of("model.layers.0.mlp.up_proj"), Some(group));
    assert_eq!(config.scheme_of("lm_head"), None);
}

#[test]
fn spellings_of_older_versions_are_read() {
    let check = |weights: Value, numeric, granularity| {
        let mut config = minimal();
        config["format"] = json!("pack-quantized");
        config["config_groups"]["group_0"]["weights"] = weights;
        let config = QuantizationConfig::parse(&config).expect("an older spelling");
        let scheme = config.groups()[0].scheme;
        assert_eq!((scheme.weights, scheme.granularity), (numeric, granularity));
    };
    let int = |bits| Numeric::Int { bits };
    check(json!({"group_size": 64, "num_bits": 4}), int(4), Granularity::Group(64));
    check(json!({"group_size": -1}), int(8), Granularity::Channel);
    check(json!({"strategy": "CHANNEL", "type": "INT"}), int(8), Granularity::Channel);
    let actorder = json!({"strategy": "channel", "actorder": "static", "zp_dtype": "torch.int8"});
    check(actorder, int(8), Granularity::Channel);
}

#[test]
fn what_is_not_understood_is_named_with_its_path() {
    let check = |path: &str, value: Value, expected: &str| {
        let mut config = minimal();
        let (parent, key) = path.rsplit_once('/').expect("a pointer");
        config.pointer_mut(parent).expect("there")[key] = value;
        let error = QuantizationConfig::parse(&config).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    };
    let group = "/config_groups/group_0";
    let of = |key: &str| format!("{group}/{key}");
    check(
        "/quant_method",
        json!("gptq"),
        "`quant_method` is `gptq`, expected `compressed-tensors`",
    );
    check("/config_groups", json!(null), "`config_groups` is null, expected an object");
    check(group, json!(["Linear"]), "`config_groups.group_0` is [\"Linear\"], expected an object");
    check("/ignore", json!("lm_head"), "`ignore` is `lm_head`, expected a list");
    check("/ignore", json!([1]), "`ignore` is 1, expected a list of strings");
    check(
        "/ignore",
        json!(["re:("]),
        "`ignore`: `(` is no regular expression that we can match: error: unclosed group",
    );
    check(
        "/format",
        json!("nvfp4-pack-quantized"),
        "`config_groups.group_0.format` is `nvfp4-pack-quantized`, expected `pack-quantized`, \
         `int-quantized` or `float-quantized`",
    );
    check(
        &of("weights/strategy"),
        json!("tensor_group"),
        "`config_groups.group_0.weights.strategy` is `tensor_group`, expected `channel`, `group`, \
         `block` or `token`",
    );
    check(
        &of("weights/group_size"),
        json!(1.5),
        "`config_groups.group_0.weights.group_size` is 1.5, expected a positive number",
    );
    check(
        &of("weights/num_bits"),
        json!(1e300),
        "`config_groups.group_0.weights.num_bits` is 1e+300, expected 2 to 8 for integers",
    );
    check(
        &of("weights/num_bits"),
        json!(9),
        "`config_groups.group_0.weights.num_bits` is 9, expected 2 to 8 for integers",
    );
    check(
        &of("weights/scale_dtype"),
        json!("torch.uint8"),
        "`config_groups.group_0.weights.scale_dtype` is `torch.uint8`, expected null or a plain \
         float type",
    );
    check(
        &of("weights/actorder"),
        json!("group"),
        "`config_groups.group_0.weights.actorder` is `group`, expected null, `weight` or `static`",
    );
    check(&of("weights"), json!(null), "`config_groups.group_0.weights` is missing");
    check(
        &of("output_activations"),
        json!({"num_bits": 8}),
        "`config_groups.group_0.output_activations` is {\"num_bits\":8}, expected null",
    );
    check(
        &of("input_activations"),
        json!({"strategy": "token"}),
        "`config_groups.group_0.input_activations` is {\"strategy\":\"token\"}, expected symmetric \
         dynamic int8 or E4M3 per token, or E4M3 per group",
    );
    let xs = format!("[\"{}", "x".repeat(58));
    check(
        &of("weights"),
        json!(["x".repeat(10_000)]),
        &format!("`config_groups.group_0.weights` is {xs}..., expected an object"),
    );
}

#[test]
fn no_value_in_any_place_is_a_panic() {
    let places = |prefix: &str, value: &Value| -> Vec<String> {
        let keys = value.as_object().into_iter().flat_map(|map| map.keys());
        keys.map(|key| format!("{prefix}/{key}")).collect()
    };
    let good = config(&[("Linear", preset("w8a8"))], &["lm_head"]).to_json();
    let mut all = places("", &good);
    for i in 0.. {
        let Some(place) = all.get(i).cloned() else { break };
        all.extend(places(&place, good.pointer(&place).expect("listed")));
    }
    let odd =
        r#"[null, true, -1, 0, 1e999, 18446744073709551615, "", "re:", "é", [], [[]], {}, [0, 0]]"#;
    let odd: Vec<Value> = serde_json::from_str(odd).expect("JSON");
    for (place, value) in all.iter().flat_map(|place| odd.iter().map(move |value| (place, value))) {
        let mut config = good.clone();
        *config.pointer_mut(place).expect("listed") = value.clone();
        if let Ok(read) = QuantizationConfig::parse(&config) {
            read.to_json();
        }
        lint(&config);
    }
}

#[test]
fn the_two_rules_of_matching_differ_as_the_loaders_do() {
    let config = config(
        &[("re:.*self_attn.*", preset("w8a16")), ("Linear", preset("w4a16"))],
        &["lm_head", "re:.*mlp.gate$", "m.mlp.gate_proj"],
    );
    let fused = |module, parts: &[&str]| {
        config.fused_scheme_of(module, parts).map(|group| group.map(|group| group.name.as_str()))
    };
    let qkv = ["m.self_attn.q_proj", "m.self_attn.k_proj", "m.self_attn.v_proj"];
    assert_eq!(fused("m.self_attn.qkv_proj", &qkv), Ok(Some("group_0")));
    assert_eq!(fused("m.mlp.down_proj", &[]), Ok(Some("group_1")));
    assert_eq!(fused("m.mlp.gate", &[]), Ok(None));
    assert_eq!(fused("lm_head", &[]), Ok(None));
    let error = fused("m.mlp.gate_up_proj", &["m.mlp.gate_proj", "m.mlp.up_proj"]);
    assert_eq!(error.expect_err("one is ignored").other, "m.mlp.up_proj");
    assert_eq!(config.scheme_of("m.mlp.gate_proj"), None);
    assert_eq!(config.scheme_of("m.mlp.up_proj").map(|group| group.name.as_str()), Some("group_1"));
}
