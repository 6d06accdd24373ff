//! Each fault by itself, planted in a config that has none.

use crate::{QuantizationConfig, lint};
use llmopt_scheme::Scheme;
use serde_json::{Value, json};

fn config(scheme: &str) -> Value {
    let scheme = Scheme::preset(scheme).expect("a preset");
    let groups = vec![(vec!["Linear".to_owned()], scheme)];
    let config = QuantizationConfig::new(groups, vec!["lm_head".to_owned()]);
    config.expect("storable").to_json()
}

#[test]
fn what_we_write_has_no_faults() {
    for &scheme in Scheme::NAMES {
        assert_eq!(lint(&config(scheme)), []);
    }
}

/// Sets `path` in the config of `scheme` (or removes it, if `value` is `None`) and expects exactly
/// one fault, at `at`, that contains `what`.
fn check(scheme: &str, path: &str, value: Option<Value>, at: &str, what: &str) {
    let mut config = config(scheme);
    let (parent, key) = path.rsplit_once('/').expect("a pointer");
    let parent = config.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    match value {
        Some(value) => drop(parent.insert(key.to_owned(), value)),
        None => drop(parent.remove(key).expect("it was there")),
    }
    let faults = lint(&config);
    assert_eq!(faults.len(), 1, "{path}: {faults:?}");
    assert_eq!(faults[0].at, at);
    assert!(faults[0].what.contains(what), "{}", faults[0]);
}

#[test]
fn faults_of_the_whole_are_named() {
    let check = |path, value, what| check("w4a16", path, value, &path[1..], what);
    check("/quant_method", None, "choose the loader");
    check("/format", None, "vllm does not infer it");
    check("/format", Some(json!("int4")), "no format");
    check("/format", Some(json!("marlin-24")), "dropped");
    check("/quantization_status", None, "transformers");
    check("/quantization_status", Some(json!("frozen")), "at random");
    check("/sparsity_config", Some(json!({"format": "x", "targets": ["Linear"]})), "refuse");
    check("/transform_config", Some(json!({"config_groups": {"R1": {}}})), "garbage");
    check("/config_groups", None, "nothing is loaded");
    check("/config_groups", Some(json!({})), "empty");
    check("/config_groups", Some(json!([])), "no object");
    check("/ignore", Some(json!(["Linear"])), "vllm ignores by path");
    check("/ignore", Some(json!("lm_head")), "no list");
    check("/ignore", Some(json!([7])), "no string");
    check("/ignore", Some(json!(["re:(?!x)"])), "look-around");
    check(
        "/kv_cache_scheme",
        Some(json!({"num_bits": 8, "type": "int", "strategy": "tensor"})),
        "vllm refuses it",
    );
}

#[test]
fn faults_of_a_group_are_named() {
    let check = |scheme, key: &str, value, what| {
        let at = format!("config_groups.group_0.{key}");
        check(scheme, &format!("/{}", at.replace('.', "/")), value, &at, what);
    };
    check("w4a16", "targets", None, "missing");
    check("w4a16", "targets", Some(json!([])), "quantizes nothing");
    check("w4a16", "format", None, "infer");
    check("w4a16", "format", Some(json!("mixed-precision")), "no format of a group");
    let (path, at) = ("/config_groups/group_0/input_activations", "config_groups.group_0.format");
    self::check("w8a8", path, None, at, "pack-quantized");
    check("w4a16", "weights", None, "not quantized");
    check("w4a16", "weights", Some(json!("W4A16")), "no object");
    check("w4a16", "note", Some(json!("x")), "no key");
}

#[test]
fn faults_of_arguments_are_named() {
    let check = |scheme, key: &str, value, what| {
        let at = format!("config_groups.group_0.{key}");
        check(scheme, &format!("/{}", at.replace('.', "/")), value, &at, what);
    };
    check("w4a16", "weights.extra", Some(json!(1)), "no key");
    check("w4a16", "weights.num_bits", Some(json!(9)), "integers");
    check("w4a16", "weights.num_bits", Some(json!("4")), "integers");
    check("fp8", "weights.num_bits", Some(json!(6)), "floats");
    check("w4a16", "weights.type", Some(json!("nf")), "neither");
    check("w4a16", "weights.strategy", Some(json!("row")), "no strategy");
    check("w4a16", "weights.strategy", None, "infers");
    check("w4a16", "weights.group_size", None, "missing for groups");
    check("w4a16", "weights.group_size", Some(json!(0)), "no positive number");
    check("w8a16", "weights.group_size", Some(json!(128)), "without groups");
    check("w4a16", "weights.actorder", Some(json!("group")), "refuse");
    check("w4a16", "weights.actorder", Some(json!(true)), "refuse");
    check("w4a16", "weights.symmetric", Some(Value::Null), "true or false");
    check("w4a16", "weights.dynamic", Some(json!(true)), "stored");
    check("w4a16", "weights.zp_dtype", Some(json!("torch.int8")), "symmetric");
    check("fp8-block", "weights.block_structure", None, "missing for blocks");
    check("fp8-block", "weights.block_structure", Some(json!([128, 0])), "two positive");
    check("w8a16", "weights.block_structure", Some(json!([128, 128])), "without blocks");
    check("w8a8", "input_activations.dynamic", Some(json!(false)), "per token");
    check("w8a8", "input_activations.dynamic", Some(json!("local")), "tensor groups");
    check("w8a8", "input_activations.actorder", Some(json!("weight")), "activations");
    check("fp8", "input_activations.observers", Some(json!(1)), "no key");
}

/// What 0.17 packed into words of ten codes is not what loaders of today unpack.
#[test]
fn odd_widths_of_old_versions_are_faults() {
    let check = |scheme, version, what| self::check(scheme, "/version", version, "version", what);
    check("w3a16", Some(json!("0.17.1")), "is `0.17.1`, and before 0.18");
    check("w5a16", Some(json!("0.9.4")), "codes of 5 bits");
    check("w6a16", Some(json!("dev")), "codes of 6 bits");
    check("w7a16", None, "is missing");
    let sound = |scheme, version: Value| {
        let mut config = config(scheme);
        config["version"] = version;
        assert_eq!(lint(&config), [], "{scheme}");
    };
    sound("w3a16", json!("0.18.1.a20260901"));
    sound("w5a16", json!("1.0.0"));
    for even in ["w2a16", "w4a16", "w8a16", "fp8"] {
        sound(even, json!("0.13.0"));
    }
}

#[test]
fn harmless_variants_are_no_faults() {
    let check = |path: &str, value: Value| {
        let mut config = config("w4a16");
        *config.pointer_mut(path).expect("it is there") = value;
        assert_eq!(lint(&config), [], "{path}");
    };
    check("/ignore", Value::Null);
    check("/version", json!(12));
    check("/config_groups/group_0/weights/actorder", json!("static"));
    check("/config_groups/group_0/weights/observer", json!("mse"));
    check("/sparsity_config", Value::Null);
    let kv = json!({"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": false});
    check("/kv_cache_scheme", kv);
}

#[test]
fn anything_can_be_linted() {
    for hostile in [json!(null), json!([]), json!({}), json!({"config_groups": {"g": 1}})] {
        assert!(!lint(&hostile).is_empty());
    }
}
