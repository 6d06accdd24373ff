//! The tensors of each checkpoint, as the family's own code names and shapes them.

use super::random::Fill;
use anyhow::Result;
use llmopt_tensor::{Dtype, TensorMeta};
use std::collections::BTreeMap;

pub(super) const HIDDEN: usize = 64;
pub(super) const INTER: usize = 96;
pub(super) const LAYERS: usize = 2;
pub(super) const VOCAB: usize = 96;
pub(super) const VISION_HIDDEN: usize = 32;
pub(super) const VISION_INTER: usize = 48;
pub(super) const FP8_HIDDEN: usize = 128;
pub(super) const FP8_INTER: usize = 256;
pub(super) const FP8_QKV: Qkv = Qkv { heads: 4, kv_heads: 2, head_dim: 16 };

const MATRIX: Fill = Fill { mean: 0.0, spread: 0.05 };
const NORM: Fill = Fill { mean: 1.0, spread: 0.1 };
/// Wide enough that logits differ clearly from token to token.
const EMBEDDING: Fill = Fill { mean: 0.0, spread: 0.12 };

/// Head counts and width of an attention.
#[derive(Clone, Copy)]
pub(super) struct Qkv {
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
}

pub(super) struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    pub(super) fill: Fill,
}

/// Tensors by name.
pub(super) struct Listing {
    qkv: Qkv,
    tensors: BTreeMap<String, Tensor>,
}

impl Tensor {
    pub(super) fn meta(&self) -> Result<TensorMeta> {
        Ok(TensorMeta::new(self.dtype, self.shape.as_slice())?)
    }
}

impl Listing {
    pub(super) fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// Separate projections, a gated MLP, a norm before each: most families are this one with a few
    /// tensors more or less.
    pub(super) fn llama_like(qkv: Qkv) -> Self {
        let mut listing = Self::frame(qkv);
        for layer in layers() {
            listing.attention(&layer, HIDDEN);
            listing.mlp(
                &format!("{layer}mlp."),
                HIDDEN,
                INTER,
                ["gate_proj", "up_proj", "down_proj"],
            );
            listing.norm(format!("{layer}input_layernorm"), HIDDEN);
            listing.norm(format!("{layer}post_attention_layernorm"), HIDDEN);
        }
        listing
    }

    pub(super) fn phi3(qkv: Qkv) -> Self {
        let mut listing = Self::llama_like(qkv);
        for part in [
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
        ] {
            listing.tensors.retain(|name, _| !name.contains(part));
        }
        for layer in layers() {
            let rows = (qkv.heads + 2 * qkv.kv_heads) * qkv.head_dim;
            listing.matrix(format!("{layer}self_attn.qkv_proj"), rows, HIDDEN);
            listing.matrix(format!("{layer}mlp.gate_up_proj"), 2 * INTER, HIDDEN);
        }
        listing
    }

    pub(super) fn olmo2(qkv: Qkv) -> Self {
        let mut listing = Self::llama_like(qkv);
        listing.tensors.retain(|name, _| !name.contains("input_layernorm"));
        for layer in layers() {
            listing.norm(format!("{layer}post_feedforward_layernorm"), HIDDEN);
            listing.norm(format!("{layer}self_attn.q_norm"), qkv.heads * qkv.head_dim);
            listing.norm(format!("{layer}self_attn.k_norm"), qkv.kv_heads * qkv.head_dim);
        }
        listing
    }

    pub(super) fn mixtral(qkv: Qkv) -> Self {
        let mut listing = Self::llama_like(qkv);
        listing.tensors.retain(|name, _| !name.contains(".mlp."));
        for layer in layers() {
            listing.experts(&format!("{layer}block_sparse_moe."), 3, ["w1", "w3", "w2"]);
        }
        listing
    }

    /// The first layer is dense, the second has the experts.
    pub(super) fn qwen3_moe(qkv: Qkv) -> Self {
        let mut listing = Self::llama_like(qkv).head_norms();
        listing.tensors.retain(|name, _| !name.contains(".1.mlp."));
        listing.experts("model.layers.1.mlp.", 5, ["gate_proj", "up_proj", "down_proj"]);
        listing
    }

    /// Linears in F8_E4M3 with a scale for each block of 128 by 128, cut where a matrix is smaller.
    pub(super) fn fp8() -> Self {
        let mut listing = Self { qkv: FP8_QKV, tensors: BTreeMap::new() };
        listing.insert("model.embed_tokens.weight", &[VOCAB, FP8_HIDDEN], EMBEDDING);
        listing.norm("model.norm".into(), FP8_HIDDEN);
        for layer in layers() {
            listing.attention(&layer, FP8_HIDDEN);
            let names = ["gate_proj", "up_proj", "down_proj"];
            listing.mlp(&format!("{layer}mlp."), FP8_HIDDEN, FP8_INTER, names);
            listing.norm(format!("{layer}input_layernorm"), FP8_HIDDEN);
            listing.norm(format!("{layer}post_attention_layernorm"), FP8_HIDDEN);
        }
        let mut scales = Vec::new();
        for (name, tensor) in listing.tensors.iter_mut().filter(|(name, _)| name.contains("_proj"))
        {
            tensor.dtype = Dtype::F8E4M3;
            tensor.fill = Fill { mean: 0.0, spread: 100.0 };
            let blocks = tensor.shape.iter().map(|length| length.div_ceil(128)).collect();
            let fill = Fill { mean: 0.0005, spread: 0.0001 };
            let scale = Tensor { dtype: Dtype::F32, shape: blocks, fill };
            scales.push((format!("{name}_scale_inv"), scale));
        }
        listing.tensors.extend(scales);
        listing
    }

    /// Without a head of its own.
    pub(super) fn tied(mut self) -> Self {
        self.tensors.remove("lm_head.weight");
        self
    }

    /// With biases on these projections.
    pub(super) fn biased(mut self, projections: &[&str]) -> Self {
        let biases: Vec<(String, usize)> = self
            .tensors
            .iter()
            .filter(|(name, _)| {
                projections.iter().any(|p| name.ends_with(&format!(".{p}_proj.weight")))
            })
            .map(|(name, tensor)| (name.replace(".weight", ".bias"), tensor.shape[0]))
            .collect();
        for (name, rows) in biases {
            self.insert(&name, &[rows], MATRIX);
        }
        self
    }

    /// With norms on each head of queries and keys.
    pub(super) fn head_norms(mut self) -> Self {
        for layer in layers() {
            self.norm(format!("{layer}self_attn.q_norm"), self.qkv.head_dim);
            self.norm(format!("{layer}self_attn.k_norm"), self.qkv.head_dim);
        }
        self
    }

    /// With norms before and after the MLP; the one after attention stays.
    pub(super) fn sandwich_norms(mut self) -> Self {
        for layer in layers() {
            self.norm(format!("{layer}pre_feedforward_layernorm"), HIDDEN);
            self.norm(format!("{layer}post_feedforward_layernorm"), HIDDEN);
        }
        self
    }

    /// Norms that the family stores as what is added to one.
    pub(super) fn norms_from_one(mut self) -> Self {
        for (_, tensor) in self.tensors.iter_mut().filter(|(name, _)| name.ends_with("norm.weight"))
        {
            tensor.fill.mean = 0.0;
        }
        self
    }

    /// With gates far enough from zero that one activation is told from another like it.
    pub(super) fn steep_gates(mut self) -> Self {
        for (_, tensor) in self.tensors.iter_mut().filter(|(name, _)| name.contains(".gate_proj")) {
            tensor.fill.spread = 0.25;
        }
        self
    }

    pub(super) fn below(mut self, prefix: &str) -> Self {
        let prefixed = |(name, tensor)| (format!("{prefix}{name}"), tensor);
        self.tensors = self.tensors.into_iter().map(prefixed).collect();
        self
    }

    /// With a SigLIP tower of one layer and a projector to the hidden size.
    pub(super) fn with_vision_tower(mut self) -> Self {
        const WIDE: usize = VISION_HIDDEN;
        const TOWER: &str = "vision_tower.vision_model.";
        self.insert(&format!("{TOWER}embeddings.patch_embedding.weight"), &[WIDE, 3, 4, 4], MATRIX);
        self.insert(&format!("{TOWER}embeddings.patch_embedding.bias"), &[WIDE], MATRIX);
        self.insert(&format!("{TOWER}embeddings.position_embedding.weight"), &[4, WIDE], MATRIX);
        let layer = format!("{TOWER}encoder.layers.0.");
        let projections =
            ["q_proj", "k_proj", "v_proj", "out_proj"].map(|name| format!("self_attn.{name}"));
        let square = projections.iter().map(|name| (name.as_str(), WIDE, WIDE));
        let mlp = [("mlp.fc1", VISION_INTER, WIDE), ("mlp.fc2", WIDE, VISION_INTER)];
        for (name, rows, columns) in square.chain(mlp) {
            self.matrix(format!("{layer}{name}"), rows, columns);
            self.insert(&format!("{layer}{name}.bias"), &[rows], MATRIX);
        }
        let norms =
            ["encoder.layers.0.layer_norm1", "encoder.layers.0.layer_norm2", "post_layernorm"];
        for norm in norms.map(|name| format!("{TOWER}{name}")) {
            self.insert(&format!("{norm}.bias"), &[WIDE], MATRIX);
            self.norm(norm, WIDE);
        }
        let projector = "multi_modal_projector.";
        self.insert(&format!("{projector}mm_input_projection_weight"), &[WIDE, HIDDEN], MATRIX);
        self.insert(&format!("{projector}mm_soft_emb_norm.weight"), &[WIDE], MATRIX);
        self
    }

    /// Embedding, last norm and head.
    fn frame(qkv: Qkv) -> Self {
        let mut listing = Self { qkv, tensors: BTreeMap::new() };
        listing.insert("model.embed_tokens.weight", &[VOCAB, HIDDEN], EMBEDDING);
        listing.norm("model.norm".into(), HIDDEN);
        listing.insert("lm_head.weight", &[VOCAB, HIDDEN], EMBEDDING);
        listing
    }

    fn attention(&mut self, layer: &str, hidden: usize) {
        let Qkv { heads, kv_heads, head_dim } = self.qkv;
        for (name, heads) in [("q_proj", heads), ("k_proj", kv_heads), ("v_proj", kv_heads)] {
            self.matrix(format!("{layer}self_attn.{name}"), heads * head_dim, hidden);
        }
        self.matrix(format!("{layer}self_attn.o_proj"), hidden, heads * head_dim);
    }

    fn experts(&mut self, path: &str, experts: usize, names: [&str; 3]) {
        self.matrix(format!("{path}gate"), experts, HIDDEN);
        for expert in 0..experts {
            self.mlp(&format!("{path}experts.{expert}."), HIDDEN, 32, names);
        }
    }

    fn mlp(&mut self, path: &str, hidden: usize, inter: usize, [gate, up, down]: [&str; 3]) {
        self.matrix(format!("{path}{gate}"), inter, hidden);
        self.matrix(format!("{path}{up}"), inter, hidden);
        self.matrix(format!("{path}{down}"), hidden, inter);
    }

    fn matrix(&mut self, module: String, rows: usize, columns: usize) {
        self.insert(&format!("{module}.weight"), &[rows, columns], MATRIX);
    }

    fn norm(&mut self, module: String, length: usize) {
        self.insert(&format!("{module}.weight"), &[length], NORM);
    }

    fn insert(&mut self, name: &str, shape: &[usize], fill: Fill) {
        let tensor = Tensor { dtype: Dtype::BF16, shape: shape.to_vec(), fill };
        self.tensors.insert(name.to_owned(), tensor);
    }
}

fn layers() -> impl Iterator<Item = String> {
    (0..LAYERS).map(|layer| format!("model.layers.{layer}."))
}
