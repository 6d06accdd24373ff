//! The seeded checkpoints of every family, with their values.

use llmopt_arch::{Model, Program};
use llmopt_tensor::{Dtype, TensorMeta, decode};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A program and the values of its tensors.
pub(crate) struct Checkpoint {
    pub(crate) program: Program,
    pub(crate) tensors: BTreeMap<String, Vec<f32>>,
}

macro_rules! checkpoints {
    ($($folder:literal)*) => {
        /// Folders of `testdata/families`, but for those of quantized weights.
        pub(crate) const FOLDERS: &[&str] = &[$($folder),*];

        /// The checkpoint in this folder of `testdata/families`.
        pub(crate) fn checkpoint(folder: &str) -> Checkpoint {
            match folder {
                $($folder => parsed(
                    include_str!(concat!("../../../../../testdata/families/", $folder, "/config.json")),
                    include_bytes!(concat!("../../../../../testdata/families/", $folder, "/model.safetensors")),
                ),)*
                _ => panic!("no checkpoint {folder}"),
            }
        }
    };
}

checkpoints!(
    "gemma" "gemma2" "gemma3" "gemma3_text" "granite" "llama" "llama-tied" "mistral" "mixtral"
    "olmo2" "phi3" "qwen2" "qwen3" "qwen3_moe"
);

/// Enough of safetensors for files that we wrote.
fn parsed(config: &str, file: &[u8]) -> Checkpoint {
    let (length, rest) = file.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
    let mut header: BTreeMap<String, Value> = serde_json::from_slice(header).unwrap();
    header.remove("__metadata__");
    let numbers = |list: &Value| -> Vec<usize> {
        list.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
    };
    let dtype = |tensor: &Value| Dtype::from_name(tensor["dtype"].as_str().unwrap()).unwrap();
    let meta = |tensor: &Value| TensorMeta::new(dtype(tensor), numbers(&tensor["shape"])).unwrap();
    let values = |tensor: &Value| {
        let bytes = numbers(&tensor["data_offsets"]);
        let mut values = vec![0.0; numbers(&tensor["shape"]).iter().product()];
        decode(dtype(tensor), &data[bytes[0]..bytes[1]], &mut values).unwrap();
        values
    };
    let metas = header.iter().map(|(name, tensor)| (name.clone(), meta(tensor))).collect();
    let config: Map<String, Value> = serde_json::from_str(config).unwrap();
    let program = Model::bind(Some(&config), &metas).unwrap().program().unwrap();
    let tensors = header.iter().map(|(name, tensor)| (name.clone(), values(tensor))).collect();
    Checkpoint { program, tensors }
}
