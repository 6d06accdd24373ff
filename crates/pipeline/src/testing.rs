//! What tests share: models sketched by their headers, and plans as texts.

#![expect(clippy::disallowed_methods, reason = "tests lay out files themselves")]

use crate::Error;
use llmopt_arch::Model;
use llmopt_checkpoint::Header;
use llmopt_tensor::{Dtype, TensorMeta};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A model of which there are a config and names and shapes, all in BF16.
#[derive(Clone)]
pub(crate) struct Sketch {
    pub(crate) config: Value,
    pub(crate) tensors: Vec<(String, Vec<usize>)>,
}

/// A Llama with 4 groups of 2 heads, and so many channels.
pub(crate) fn dense(layers: usize, channels: usize) -> Sketch {
    let mut sketch = Sketch::new("llama", "Llama", layers, channels);
    for layer in 0..layers {
        sketch.attention(layer);
        sketch.gated(&format!("model.layers.{layer}.mlp"), channels);
    }
    sketch
}

/// A Qwen3-MoE whose first layer is dense, and whose others have 3 experts of so many channels each.
pub(crate) fn experts(layers: usize, channels: usize) -> Sketch {
    let mut sketch = Sketch::new("qwen3_moe", "Qwen3Moe", layers, 4 * channels);
    for (key, value) in [
        ("decoder_sparse_step", json!(1)),
        ("mlp_only_layers", json!([0])),
        ("moe_intermediate_size", json!(channels)),
        ("norm_topk_prob", json!(true)),
        ("num_experts", json!(3)),
        ("num_experts_per_tok", json!(2)),
    ] {
        sketch.config[key] = value;
    }
    for layer in 0..layers {
        sketch.attention(layer);
        for norm in ["q_norm", "k_norm"] {
            sketch.add(format!("model.layers.{layer}.self_attn.{norm}"), &[HEAD]);
        }
        let mlp = format!("model.layers.{layer}.mlp");
        if layer == 0 {
            sketch.gated(&mlp, 4 * channels);
        } else {
            sketch.add(format!("{mlp}.gate"), &[3, HIDDEN]);
            (0..3).for_each(|expert| sketch.gated(&format!("{mlp}.experts.{expert}"), channels));
        }
    }
    sketch
}

const HIDDEN: usize = 256;
const HEAD: usize = 32;
const GROUPS: usize = 4;
const VOCABULARY: usize = 96;

impl Sketch {
    fn new(model_type: &str, class: &str, layers: usize, channels: usize) -> Self {
        let config = json!({
            "architectures": [format!("{class}ForCausalLM")],
            "model_type": model_type,
            "torch_dtype": "bfloat16",
            "hidden_act": "silu",
            "hidden_size": HIDDEN,
            "intermediate_size": channels,
            "num_hidden_layers": layers,
            "num_attention_heads": 2 * GROUPS,
            "num_key_value_heads": GROUPS,
            "head_dim": HEAD,
            "vocab_size": VOCABULARY,
            "max_position_embeddings": 256,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "tie_word_embeddings": false,
        });
        let mut sketch = Self { config, tensors: Vec::new() };
        sketch.add("model.embed_tokens", &[VOCABULARY, HIDDEN]);
        sketch.add("lm_head", &[VOCABULARY, HIDDEN]);
        sketch.add("model.norm", &[HIDDEN]);
        sketch
    }

    /// Adds the weight of a module.
    pub(crate) fn add(&mut self, module: impl std::fmt::Display, shape: &[usize]) {
        self.tensors.push((format!("{module}.weight"), shape.to_vec()));
    }

    fn attention(&mut self, layer: usize) {
        let layer = format!("model.layers.{layer}");
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            self.add(format!("{layer}.{norm}"), &[HIDDEN]);
        }
        self.add(format!("{layer}.self_attn.q_proj"), &[2 * GROUPS * HEAD, HIDDEN]);
        self.add(format!("{layer}.self_attn.k_proj"), &[GROUPS * HEAD, HIDDEN]);
        self.add(format!("{layer}.self_attn.v_proj"), &[GROUPS * HEAD, HIDDEN]);
        self.add(format!("{layer}.self_attn.o_proj"), &[HIDDEN, 2 * GROUPS * HEAD]);
    }

    fn gated(&mut self, module: &str, channels: usize) {
        self.add(format!("{module}.gate_proj"), &[channels, HIDDEN]);
        self.add(format!("{module}.up_proj"), &[channels, HIDDEN]);
        self.add(format!("{module}.down_proj"), &[HIDDEN, channels]);
    }

    /// The model, bound.
    pub(crate) fn model(&self) -> Model {
        let tensors = self.metas().into_iter().collect();
        Model::bind(self.config.as_object(), &tensors).expect("the family takes it")
    }

    /// A folder with a config and one file of weights, all of them zero.
    pub(crate) fn folder(&self) -> TempDir {
        let folder = self.with_config();
        write_weights(&folder.path().join("model.safetensors"), &self.metas());
        folder
    }

    /// A folder whose weights are in two files with an index: those of layers, and all others.
    pub(crate) fn sharded(&self) -> TempDir {
        let folder = self.with_config();
        let (layers, others): (Vec<_>, Vec<_>) =
            self.metas().into_iter().partition(|(name, _)| name.contains(".layers."));
        let mut map = serde_json::Map::new();
        for (number, tensors) in [(1, layers), (2, others)] {
            let file = format!("model-{number:05}-of-00002.safetensors");
            write_weights(&folder.path().join(&file), &tensors);
            map.extend(tensors.into_iter().map(|(name, _)| (name, json!(file))));
        }
        let index = json!({ "metadata": {}, "weight_map": map });
        fs::write(folder.path().join(llmopt_rewrite::INDEX), index.to_string()).expect("room");
        folder
    }

    fn with_config(&self) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let config = serde_json::to_string_pretty(&self.config).expect("JSON");
        fs::write(folder.path().join("config.json"), config + "\n").expect("room");
        folder
    }

    fn metas(&self) -> Vec<(String, TensorMeta)> {
        let meta = |shape: &Vec<usize>| TensorMeta::new(Dtype::BF16, shape.clone()).expect("small");
        self.tensors.iter().map(|(name, shape)| (name.clone(), meta(shape))).collect()
    }
}

/// A header, and zeros that take no room on most file systems.
fn write_weights(path: &Path, tensors: &[(String, TensorMeta)]) {
    let mut tensors = tensors.to_vec();
    Header::reference_order(&mut tensors);
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let (header, _) = Header::encode(&metadata, &tensors).expect("a header");
    fs::write(path, &header).expect("room");
    let bytes: u64 = tensors.iter().map(|(_, meta)| meta.bytes()).sum();
    let file = fs::OpenOptions::new().write(true).open(path).expect("it was made");
    file.set_len(header.len() as u64 + bytes).expect("room");
}

/// A checkpoint that lies in the repository.
pub(crate) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

/// The header of a file of weights: its metadata, and a line for each tensor in the order of bytes, with what
/// `more` says of it.
pub(crate) fn weights(name: &str, header: &[u8], more: impl Fn(&str) -> String) -> String {
    let header: serde_json::Map<String, Value> =
        serde_json::from_slice(&header[8..]).expect("a length, then JSON");
    let mut text = format!("{name}\n");
    let metadata = header["__metadata__"].as_object().into_iter().flatten();
    for (key, value) in metadata {
        let value = value.as_str().expect("metadata are texts");
        let json: Option<Value> = serde_json::from_str(value).ok().filter(Value::is_object);
        let value = json.map_or_else(|| value.to_owned(), |json| format!("{json:#}"));
        text += &format!("  {key}: {value}\n");
    }
    let begin = |tensor: &Value, end: usize| tensor["data_offsets"][end].as_u64().unwrap_or(0);
    let mut tensors: Vec<_> = header.iter().filter(|(name, _)| *name != "__metadata__").collect();
    tensors.sort_by_key(|(_, tensor)| (begin(tensor, 0), begin(tensor, 1)));
    for (name, tensor) in tensors {
        let (dtype, shape) = (tensor["dtype"].as_str().unwrap_or("?"), &tensor["shape"]);
        let shape = shape.to_string().replace(',', ", ");
        let line = format!("{:>8}  {dtype:<8} {shape:<12} {name}{}", begin(tensor, 0), more(name));
        text += &format!("{line}\n");
    }
    text
}

/// What a refusal says.
pub(crate) fn refusal(error: &Error) -> String {
    let hint = error.hint().map(|hint| format!("\n    hint: {hint}")).unwrap_or_default();
    format!("refused: {error}{hint}")
}
