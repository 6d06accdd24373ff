//! The seeded checkpoints, as config and headers.

#![allow(dead_code, reason = "each test uses a part of it")]

use llmopt_tensor::{Dtype, TensorMeta};
use serde_json::{Map, Value};
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
