//! What is wrong with one argument dictionary: weights, activations, or the key-value cache.

use super::{Faults, empty, text, unknown_keys};
use serde_json::{Map, Value};

pub(super) fn check_weights(at: &str, value: &Value, faults: &mut Faults) {
    let Some(map) = check(at, value, faults) else { return };
    if !is_false(map.get("dynamic")) {
        let what = "is set for weights; their scales are stored, and loaders read them";
        faults.add(format!("{at}.dynamic"), what);
    }
    match map.get("actorder") {
        None | Some(Value::Null | Value::Bool(false)) => {}
        Some(Value::String(order)) if matches!(order.as_str(), "weight" | "static") => {}
        Some(_) => faults.add(
            format!("{at}.actorder"),
            "reorders columns as the model runs; compressed-tensors 0.19 and vllm refuse it",
        ),
    }
    check_zero_points(at, map, faults);
}

pub(super) fn check_activations(at: &str, value: &Value, faults: &mut Faults) {
    let Some(map) = check(at, value, faults) else { return };
    if !matches!(map.get("actorder"), None | Some(Value::Null | Value::Bool(false))) {
        let what = "is set for activations; compressed-tensors refuses it";
        faults.add(format!("{at}.actorder"), what);
    }
    if matches!(text(map, "strategy"), Some("channel" | "block")) {
        let what = "cuts weights, not activations; compressed-tensors refuses it";
        faults.add(format!("{at}.strategy"), what);
    }
    check_zero_points(at, map, faults);
}

pub(super) fn check_kv_cache(at: &str, value: &Value, faults: &mut Faults) {
    let Some(map) = check(at, value, faults) else { return };
    let float = map.get("num_bits").and_then(Value::as_u64).unwrap_or(8) == 8
        && text(map, "type") == Some("float");
    let strategy = matches!(text(map, "strategy"), Some("tensor" | "attn_head"));
    if !(float && strategy && is_symmetric(map) && is_false(map.get("dynamic"))) {
        let what = "is not static, symmetric 8-bit float per tensor or head; vllm refuses it";
        faults.add(at, what);
    }
}

/// What holds for all dictionaries; returns the dictionary if it is one.
fn check<'a>(at: &str, value: &'a Value, faults: &mut Faults) -> Option<&'a Map<String, Value>> {
    let Some(map) = value.as_object() else {
        faults.add(at, "is no object; compressed-tensors refuses it");
        return None;
    };
    unknown_keys(at, map, &KEYS, faults);
    check_number(at, map, faults);
    check_strategy(at, map, faults);
    check_block(at, map, faults);
    check_dynamic(at, map, faults);
    Some(map)
}

fn check_number(at: &str, map: &Map<String, Value>, faults: &mut Faults) {
    let bits = map.get("num_bits").map_or(Some(8), Value::as_u64);
    let kind = map.get("type").map_or(Some("int"), Value::as_str).map(str::to_lowercase);
    let what = match (kind.as_deref(), bits) {
        (Some("int"), Some(2..=8)) | (Some("float"), Some(4 | 8)) => return,
        (Some("int"), _) => "is not 2 to 8, the widths of integers",
        (Some("float"), _) => "is not 4 or 8, the widths of floats",
        _ => {
            let what = "is neither `int` nor `float`; compressed-tensors refuses it";
            return faults.add(format!("{at}.type"), what);
        }
    };
    faults.add(format!("{at}.num_bits"), format!("{what}; no loader has such a format"));
}

fn check_strategy(at: &str, map: &Map<String, Value>, faults: &mut Faults) {
    let size = map.get("group_size").filter(|size| !size.is_null()).map(Value::as_i64);
    let strategy = text(map, "strategy").map(str::to_lowercase);
    let size_at = format!("{at}.group_size");
    match (strategy.as_deref(), size) {
        (Some("group" | "tensor_group"), Some(Some(1..))) => {}
        (Some("group" | "tensor_group"), None) => {
            faults.add(size_at, "is missing for groups; compressed-tensors refuses the config");
        }
        (Some("group" | "tensor_group"), Some(_)) => {
            faults.add(size_at, "is no positive number; compressed-tensors refuses the config");
        }
        (Some(name), None | Some(Some(-1))) if STRATEGIES.contains(&name) => {}
        (Some(name), Some(_)) if STRATEGIES.contains(&name) => {
            faults.add(size_at, "is set without groups; compressed-tensors refuses the config");
        }
        (Some(_), _) => {
            let what = "is no strategy of compressed-tensors, which refuses the config";
            faults.add(format!("{at}.strategy"), what);
        }
        (None, Some(Some(-1 | 1..))) => {
            let what = "is missing; compressed-tensors infers it from the group size, not all do";
            faults.add(format!("{at}.strategy"), what);
        }
        (None, None) => {
            let what = "is missing; compressed-tensors takes one scale for the whole tensor";
            faults.add(format!("{at}.strategy"), what);
        }
        (None, Some(_)) => {
            faults
                .add(size_at, "is neither positive nor -1; compressed-tensors refuses the config");
        }
    }
}

fn check_block(at: &str, map: &Map<String, Value>, faults: &mut Faults) {
    let structure = map.get("block_structure").filter(|structure| !structure.is_null());
    let positive = |axis: &Value| axis.as_u64().is_some_and(|axis| axis > 0);
    let what = match (text(map, "strategy"), structure) {
        (Some("block"), None) => "is missing for blocks",
        (Some("block"), Some(Value::Array(axes)))
            if axes.len() == 2 && axes.iter().all(positive) =>
        {
            return;
        }
        (Some("block"), Some(_)) => "is not two positive numbers",
        (_, Some(_)) => "is set without blocks",
        (_, None) => return,
    };
    let what = format!("{what}; compressed-tensors refuses the config");
    faults.add(format!("{at}.block_structure"), what);
}

fn check_dynamic(at: &str, map: &Map<String, Value>, faults: &mut Faults) {
    let strategy = text(map, "strategy");
    let what = match (map.get("dynamic"), strategy) {
        (None | Some(Value::Bool(false)), Some("token")) => {
            "is not true, and there are no scales per token in a file"
        }
        (None | Some(Value::Bool(_)), _) => return,
        (Some(Value::String(local)), Some("tensor_group")) if local == "local" => return,
        _ => "is not true or false, or `local` for tensor groups",
    };
    let what = format!("{what}; compressed-tensors refuses the config");
    faults.add(format!("{at}.dynamic"), what);
}

fn check_zero_points(at: &str, map: &Map<String, Value>, faults: &mut Faults) {
    if map.get("symmetric").is_some_and(|symmetric| !symmetric.is_boolean()) {
        let what = "is not true or false; compressed-tensors refuses the config";
        return faults.add(format!("{at}.symmetric"), what);
    }
    let zp_at = format!("{at}.zp_dtype");
    let dtype = map.get("zp_dtype").filter(|dtype| !dtype.is_null());
    let integers = matches!(text(map, "type"), None | Some("int"));
    if is_symmetric(map) {
        if dtype.is_some() {
            let what = "is set for a symmetric scheme, which stores no zero points; write null";
            faults.add(zp_at, what);
        }
    } else if integers && dtype.is_some_and(|dtype| dtype.as_str() != Some("torch.int8")) {
        faults.add(zp_at, "is not `torch.int8`, as zero points of integers are");
    }
}

fn is_symmetric(map: &Map<String, Value>) -> bool {
    map.get("symmetric").is_none_or(|symmetric| symmetric.as_bool() == Some(true))
}

fn is_false(value: Option<&Value>) -> bool {
    empty(value) || value == Some(&Value::Bool(false))
}

const KEYS: [&str; 12] = [
    "num_bits",
    "type",
    "symmetric",
    "strategy",
    "group_size",
    "dynamic",
    "actorder",
    "block_structure",
    "observer",
    "observer_kwargs",
    "scale_dtype",
    "zp_dtype",
];

const STRATEGIES: [&str; 5] = ["tensor", "channel", "block", "token", "attn_head"];
