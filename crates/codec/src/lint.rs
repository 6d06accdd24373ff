//! What is wrong with a `quantization_config` by itself, and which runtime it breaks.
//!
//! The facts are those of compressed-tensors 0.20, Transformers 5.24 and vLLM 0.33.

mod arguments;

use crate::matching;
use serde_json::{Map, Value};
use std::fmt;

/// Something in a config that breaks a runtime, or worse, that one misreads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Path of the key.
    pub at: String,
    /// What is wrong, and what that breaks.
    pub what: String,
}

/// `` `config_groups.group_0.targets`: is missing; ... ``
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.at, self.what)
    }
}

/// All faults of a `quantization_config` of compressed-tensors.
pub fn lint(config: &Value) -> Vec<Fault> {
    let mut faults = Faults::default();
    match config.as_object() {
        Some(config) => {
            top_level(config, &mut faults);
            groups(config, &mut faults);
            packing(config, &mut faults);
        }
        None => faults.add("quantization_config", "is no object; no runtime reads it"),
    }
    faults.0
}

/// The faults found so far.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.0.push(Fault { at: at.into(), what: what.into() });
    }
}

fn top_level(config: &Map<String, Value>, faults: &mut Faults) {
    if text(config, "quant_method") != Some("compressed-tensors") {
        let what = "is not `compressed-tensors`; transformers and vllm choose the loader by it";
        faults.add("quant_method", what);
    }
    match text(config, "format") {
        Some(format) if FORMATS.contains(&format) || format == MIXED => {}
        Some(format) if LEGACY_FORMATS.contains(&format) => {
            faults.add("format", format!("is `{format}`, which vllm and sglang dropped"));
        }
        Some(_) => faults.add("format", "is no format of compressed-tensors; vllm refuses it"),
        None => faults.add("format", "is missing; vllm does not infer it and picks another scheme"),
    }
    match text(config, "quantization_status") {
        Some("compressed") => {}
        Some(_) => faults.add(
            "quantization_status",
            "is not `compressed`; transformers takes the weights for uncompressed and \
             initializes them at random",
        ),
        None => faults.add(
            "quantization_status",
            "is missing; transformers takes the weights for uncompressed and initializes them at \
             random",
        ),
    }
    if !empty(config.get("sparsity_config").and_then(|sparsity| sparsity.get("targets"))) {
        let what = "names targets; vllm and sglang refuse the legacy sparse formats";
        faults.add("sparsity_config", what);
    }
    if !empty(config.get("transform_config")) {
        let what = "is not empty; transformers and sglang ignore it and compute garbage";
        faults.add("transform_config", what);
    }
    if let Some(scheme) = config.get("kv_cache_scheme").filter(|scheme| !scheme.is_null()) {
        arguments::check_kv_cache("kv_cache_scheme", scheme, faults);
    }
    if let Some(ignore) = config.get("ignore").filter(|ignore| !ignore.is_null()) {
        patterns("ignore", ignore, faults);
        for class in ignore.as_array().into_iter().flatten().filter_map(Value::as_str) {
            if is_class(class) {
                let what = format!("`{class}` is a class; vllm ignores by path and `re:` only");
                faults.add("ignore", what);
            }
        }
    }
}

fn groups(config: &Map<String, Value>, faults: &mut Faults) {
    match config.get("config_groups") {
        None if !empty(config.get("transform_config")) => {
            faults.add("config_groups", "is missing beside transforms; transformers crashes");
        }
        None => faults.add("config_groups", "is missing; nothing is loaded as quantized"),
        Some(Value::Object(groups)) if groups.is_empty() => {
            faults.add("config_groups", "is empty; nothing is loaded as quantized");
        }
        Some(Value::Object(groups)) => {
            for (name, group) in groups {
                let at = format!("config_groups.{name}");
                match group.as_object() {
                    Some(map) => check_group(&at, map, text(config, "format"), faults),
                    None => faults.add(at, "is no object; vllm reads no preset names"),
                }
            }
        }
        Some(_) => faults.add("config_groups", "is no object; no runtime reads it"),
    }
}

fn check_group(
    at: &str,
    group: &Map<String, Value>,
    top_format: Option<&str>,
    faults: &mut Faults,
) {
    unknown_keys(at, group, &GROUP_KEYS, faults);
    match group.get("targets") {
        None => faults.add(format!("{at}.targets"), "is missing; compressed-tensors refuses it"),
        Some(targets) => {
            if targets.as_array().is_some_and(Vec::is_empty) {
                faults.add(format!("{at}.targets"), "is empty; the group quantizes nothing");
            }
            patterns(&format!("{at}.targets"), targets, faults);
        }
    }
    let format_at = format!("{at}.format");
    match text(group, "format") {
        Some(format) if FORMATS.contains(&format) || LEGACY_FORMATS.contains(&format) => {}
        Some(_) => faults.add(format_at, "is no format of a group; compressed-tensors refuses it"),
        None if top_format == Some(MIXED) => {
            faults.add(format_at, "is missing, and `mixed-precision` leaves it to the groups");
        }
        None => faults.add(format_at, "is missing; loaders infer it, and not all alike"),
    }
    match group.get("weights").filter(|weights| !weights.is_null()) {
        None => faults.add(format!("{at}.weights"), "is missing; its modules are not quantized"),
        Some(weights) => arguments::check_weights(&format!("{at}.weights"), weights, faults),
    }
    for key in ["input_activations", "output_activations"] {
        if let Some(activations) = group.get(key).filter(|value| !value.is_null()) {
            arguments::check_activations(&format!("{at}.{key}"), activations, faults);
        }
    }
    weight_only_integers(at, group, text(group, "format").or(top_format), faults);
}

/// Codes of 3, 5, 6 and 7 bits are a dense stream since compressed-tensors 0.18; before, a word held as
/// many whole ones as fit. No tensor tells which; a row may have as many words either way.
fn packing(config: &Map<String, Value>, faults: &mut Faults) {
    let odd = |group: &Value| {
        let format = group.get("format").or(config.get("format")).and_then(Value::as_str);
        let bits = group.pointer("/weights/num_bits").and_then(Value::as_u64);
        bits.filter(|bits| format == Some("pack-quantized") && matches!(bits, 3 | 5 | 6 | 7))
    };
    let groups = config.get("config_groups").and_then(Value::as_object);
    let Some(bits) = groups.and_then(|groups| groups.values().find_map(odd)) else { return };
    let version = text(config, "version");
    if version.and_then(minor_version).is_some_and(|version| version >= (0, 18)) {
        return;
    }
    let found = version.map_or("is missing".to_owned(), |version| {
        format!("is `{}`", version.chars().take(40).collect::<String>())
    });
    let what = format!(
        "{found}, and before 0.18 compressed-tensors packed codes of {bits} bits otherwise: loaders \
         of today read noise"
    );
    faults.add("version", what);
}

/// `0.18` of `0.18.0`, `0.18`, `0.18.1.a20260101`.
fn minor_version(version: &str) -> Option<(u32, u32)> {
    let (major, rest) = version.split_once('.')?;
    let minor = rest.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn weight_only_integers(
    at: &str,
    group: &Map<String, Value>,
    format: Option<&str>,
    faults: &mut Faults,
) {
    let inputs = group.get("input_activations").is_some_and(|inputs| !inputs.is_null());
    let kind = group.get("weights").and_then(|weights| weights.get("type")).and_then(Value::as_str);
    let integers = matches!(kind, None | Some("int"));
    if format == Some("int-quantized") && integers && !inputs {
        let what = "is `int-quantized` without `input_activations`; vllm takes integer weights \
                    alone only as `pack-quantized`";
        faults.add(format!("{at}.format"), what);
    }
}

/// A list of module paths, expressions and classes.
fn patterns(at: &str, list: &Value, faults: &mut Faults) {
    let Some(list) = list.as_array() else {
        return faults.add(at, "is no list; compressed-tensors refuses it");
    };
    for entry in list {
        match entry.as_str().map(|text| text.strip_prefix("re:").map(matching::expression)) {
            None => {
                faults.add(at, "holds something that is no string; compressed-tensors refuses it")
            }
            Some(Some(Err(error))) => faults.add(at, error.to_string()),
            Some(None | Some(Ok(_))) => {}
        }
    }
}

fn unknown_keys(at: &str, map: &Map<String, Value>, known: &[&str], faults: &mut Faults) {
    for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
        let what = "is no key of compressed-tensors, which refuses the whole config for it";
        faults.add(format!("{at}.{key}"), what);
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key).and_then(Value::as_str)
}

fn empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    }
}

/// Python's classes begin with a capital; attributes, and with them paths, do not.
fn is_class(entry: &str) -> bool {
    entry.starts_with(|first: char| first.is_ascii_uppercase()) && !entry.contains('.')
}

const MIXED: &str = "mixed-precision";

const FORMATS: [&str; 8] = [
    "dense",
    "int-quantized",
    "float-quantized",
    "naive-quantized",
    "pack-quantized",
    "nvfp4-pack-quantized",
    "mxfp4-pack-quantized",
    "mxfp8-quantized",
];

const LEGACY_FORMATS: [&str; 3] = ["sparse-bitmask", "sparse-24-bitmask", "marlin-24"];

const GROUP_KEYS: [&str; 5] =
    ["format", "targets", "input_activations", "output_activations", "weights"];

#[cfg(test)]
mod tests;
