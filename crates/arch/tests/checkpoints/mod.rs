//! The seeded checkpoints, as config and headers.

#![allow(dead_code, reason = "each test uses a part of it")]

use llmopt_tensor::{Dtype, TensorMeta};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A config and the tensors beside it.
#[derive(Clone)]
pub(crate) struct Checkpoint {
    pub(crate) config: Map<String, Value>,
    pub(crate) tensors: BTreeMap<String, TensorMeta>,
}

macro_rules! checkpoints {
    ($($folder:literal)*) => {
        /// Folders of `testdata/families`.
        pub(crate) const FOLDERS: &[&str] = &[$($folder),*];

        /// The checkpoint in this folder of `testdata/families`.
        pub(crate) fn checkpoint(folder: &str) -> Checkpoint {
            match folder {
                $($folder => parsed(
                    include_str!(concat!("../../../../testdata/families/", $folder, "/config.json")),
                    include_bytes!(concat!("../../../../testdata/families/", $folder, "/model.safetensors")),
                ),)*
                _ => panic!("no checkpoint {folder}"),
            }
        }
    };
}

checkpoints!(
    "gemma" "gemma2" "gemma3" "gemma3_text" "granite" "llama" "llama-fp8" "llama-tied" "mistral"
    "mixtral" "olmo2" "phi3" "qwen2" "qwen3" "qwen3_moe"
);

macro_rules! variants {
    ($($folder:literal / $name:literal)*) => {
        /// Configs of `testdata/variants` for the checkpoints of their folders.
        pub(crate) const VARIANTS: &[(&str, &str, &str)] = &[$((
            $folder,
            $name,
            include_str!(concat!("../../../../testdata/variants/", $folder, "/", $name, ".json")),
        )),*];
    };
}

variants!(
    "gemma" / "tanh" "gemma2" / "uncapped" "gemma3_text" / "capped" "llama-tied" / "default"
    "llama-tied" / "dynamic" "llama-tied" / "longrope" "llama-tied" / "yarn"
    "mistral" / "everything" "mixtral" / "window" "phi3" / "window" "qwen3" / "listed"
    "qwen3_moe" / "shares"
);

/// A checkpoint, or a variant of it: `llama-tied/yarn`.
pub(crate) fn named(name: &str) -> Checkpoint {
    let Some((folder, _)) = name.split_once('/') else { return checkpoint(name) };
    let is_it = |(folder, variant, _): &&(&str, &str, &str)| format!("{folder}/{variant}") == name;
    let (_, _, config) = VARIANTS.iter().find(is_it).unwrap();
    Checkpoint { config: serde_json::from_str(config).unwrap(), ..checkpoint(folder) }
}

/// The names of all checkpoints and of all their variants.
pub(crate) fn all() -> Vec<String> {
    let variants = VARIANTS.iter().map(|(folder, name, _)| format!("{folder}/{name}"));
    FOLDERS.iter().map(|folder| (*folder).to_owned()).chain(variants).collect()
}

/// The checkpoint with so many layers, the two that it has in turn.
pub(crate) fn deepened(whole: &Checkpoint, layers: usize) -> Checkpoint {
    let mut deep = whole.clone();
    for (name, meta) in &whole.tensors {
        let Some((path, rest)) = name.split_once("model.layers.") else { continue };
        let (number, rest) = rest.split_once('.').unwrap();
        let first: usize = number.parse().unwrap();
        for layer in (first..layers).step_by(2) {
            deep.tensors.insert(format!("{path}model.layers.{layer}.{rest}"), meta.clone());
        }
    }
    let config = match deep.config.get_mut("text_config") {
        Some(nested) => nested.as_object_mut().unwrap(),
        None => &mut deep.config,
    };
    config.insert("num_hidden_layers".into(), layers.into());
    if let Some(Value::Array(types)) = config.get_mut("layer_types") {
        *types = (0..layers).map(|layer| types[layer % 2].clone()).collect();
    }
    if config.contains_key("mlp_only_layers") {
        let dense: Vec<usize> = (0..layers).step_by(2).collect();
        config.insert("mlp_only_layers".into(), dense.into());
    }
    if config.contains_key("max_window_layers") {
        config.insert("max_window_layers".into(), 3.into());
    }
    deep
}

/// Every value of every config, nested or not, in turn replaced by every kind of value.
pub(crate) fn hostile(
    mut each: impl FnMut(&str, &Map<String, Value>, &BTreeMap<String, TensorMeta>),
) {
    let hostile = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(3),
        json!(-7),
        json!(0.3),
        json!(1e300),
        json!(1e-300),
        json!(u64::MAX),
        json!(""),
        json!("yarn"),
        json!("gelu"),
        json!([]),
        json!([0, -1.5, "x"]),
        json!({}),
        json!({ "rope_type": "longrope", "factor": 1e300, "original_max_position_embeddings": 1 }),
        json!({ "rope_type": "yarn", "mscale": -1e300, "mscale_all_dim": 1e-300, "factor": 1e300 }),
        json!({ "full_attention": [], "sliding_attention": 3 }),
    ];
    const KEYS: &[&str] = &[
        "attn_logit_softcapping",
        "layer_types",
        "max_window_layers",
        "mlp_only_layers",
        "norm_topk_prob",
        "original_max_position_embeddings",
        "partial_rotary_factor",
        "rope_local_base_freq",
        "rope_parameters",
        "rope_scaling",
        "sliding_window",
        "sliding_window_pattern",
        "use_sliding_window",
    ];
    for name in FOLDERS {
        let whole = checkpoint(name);
        let mut places: Vec<Vec<String>> = paths(&Value::Object(whole.config.clone()));
        places.extend(KEYS.iter().map(|key| vec![(*key).to_owned()]));
        for place in places {
            for value in &hostile {
                let mut config = Value::Object(whole.config.clone());
                put(&mut config, &place, value.clone());
                each(name, config.as_object().unwrap(), &whole.tensors);
            }
        }
    }
}

/// The paths to all values of an object.
fn paths(value: &Value) -> Vec<Vec<String>> {
    let Some(object) = value.as_object() else { return Vec::new() };
    let mut found = Vec::new();
    for (key, value) in object {
        found.push(vec![key.clone()]);
        let below = paths(value).into_iter();
        found.extend(below.map(|path| [vec![key.clone()], path].concat()));
    }
    found
}

fn put(config: &mut Value, place: &[String], value: Value) {
    let mut object = config;
    for key in place {
        object = &mut object[key.as_str()];
    }
    *object = value;
}

/// Enough of safetensors for files that we wrote.
fn parsed(config: &str, file: &[u8]) -> Checkpoint {
    let (length, rest) = file.split_first_chunk().unwrap();
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
    let mut header: BTreeMap<String, Value> = serde_json::from_slice(&rest[..length]).unwrap();
    header.remove("__metadata__");
    let meta = |tensor: Value| {
        let shape = tensor["shape"].as_array().unwrap().iter();
        let shape: Vec<usize> = shape.map(|axis| axis.as_u64().unwrap() as usize).collect();
        TensorMeta::new(Dtype::from_name(tensor["dtype"].as_str().unwrap()).unwrap(), shape)
            .unwrap()
    };
    let tensors = header.into_iter().map(|(name, tensor)| (name, meta(tensor))).collect();
    Checkpoint { config: serde_json::from_str(config).unwrap(), tensors }
}
