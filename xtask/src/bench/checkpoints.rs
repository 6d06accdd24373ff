//! Checkpoints to measure with: llama-shaped, of any size, made in pieces.

use crate::random::Generator;
use anyhow::Result;
use llmopt_checkpoint::Header;
use llmopt_tensor::{Dtype, TensorMeta};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Sizes of a model; heads are 128 wide, four of them to a key-value head.
#[derive(Clone, Copy)]
pub(super) struct Llama {
    pub(super) hidden: usize,
    pub(super) inter: usize,
    pub(super) layers: usize,
    pub(super) vocab: usize,
}

const HEAD: usize = 128;
const HEADS_PER_KEY: usize = 4;

/// A shard of a random checkpoint holds no more, as Hugging Face's libraries cut them.
const SHARD_BYTES: u64 = 2_000_000_000;

/// Values that are repeated, from another place on in each tensor: random, and quick to write.
const VALUES: usize = 1 << 21;

type Tensor = (String, TensorMeta);

/// Token ids that [`wide`] models know.
pub(super) const WIDE_VOCABULARY: usize = 4096;

/// A model of so many wide layers, sixty million random parameters each, in a folder of its own.
pub(super) fn wide(folder: &Path, layers: usize) -> Result<PathBuf> {
    let model = folder.join(format!("calibrated-{layers}"));
    random(&model, Llama { hidden: 2048, inter: 8192, layers, vocab: WIDE_VOCABULARY })?;
    Ok(model)
}

/// A folder of random BF16 weights; one that is there is taken as it is.
pub(super) fn random(folder: &Path, model: Llama) -> Result<()> {
    let values = values();
    let mut tensors = tensors(model)?.into_iter().peekable();
    let mut shards = Vec::new();
    while tensors.peek().is_some() {
        let (mut shard, mut bytes) = (Vec::new(), 0);
        while let Some(tensor) =
            tensors.next_if(|(_, meta)| bytes == 0 || bytes + meta.bytes() <= SHARD_BYTES)
        {
            bytes += tensor.1.bytes();
            shard.push(tensor);
        }
        shards.push(shard);
    }
    written(folder, model, &shards, |file, tensors| {
        let mut file = BufWriter::with_capacity(1 << 20, file);
        for (number, (_, meta)) in tensors.iter().enumerate() {
            filled(&mut file, &values, number * 4099, meta.bytes())?;
        }
        Ok(file.flush()?)
    })
}

/// A file of so many random token ids.
pub(super) fn random_ids(folder: &Path, tokens: usize, vocabulary: usize) -> Result<PathBuf> {
    let tensor = ("input_ids".to_owned(), TensorMeta::new(Dtype::I32, [tokens])?);
    let (mut bytes, _) = Header::encode(&BTreeMap::new(), &[tensor])?;
    let mut random = Generator::new(2);
    for _ in 0..tokens {
        bytes.extend_from_slice(&(random.below(vocabulary) as i32).to_le_bytes());
    }
    let path = folder.join("ids.safetensors");
    fs::write(&path, bytes)?;
    Ok(path)
}

/// A folder of `count` shards that have their length and no data.
pub(super) fn sparse(folder: &Path, model: Llama, count: usize) -> Result<()> {
    let tensors = tensors(model)?;
    let shards: Vec<Vec<Tensor>> =
        tensors.chunks(tensors.len().div_ceil(count)).map(<[_]>::to_vec).collect();
    written(folder, model, &shards, |_, _| Ok(()))
}

/// Writes headers, lengths, index and config, and lets `fill` write the data.
fn written(
    folder: &Path,
    model: Llama,
    shards: &[Vec<Tensor>],
    fill: impl Fn(&mut File, &[Tensor]) -> Result<()>,
) -> Result<()> {
    // The config is written last: a folder that has one is complete.
    if folder.join("config.json").exists() {
        return Ok(());
    }
    println!("  making {}", folder.display());
    fs::create_dir_all(folder)?;
    let mut map = BTreeMap::new();
    for (number, tensors) in shards.iter().enumerate() {
        let name = match shards.len() {
            1 => "model.safetensors".to_owned(),
            count => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
        };
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let (header, _) = Header::encode(&metadata, tensors)?;
        let data: u64 = tensors.iter().map(|(_, meta)| meta.bytes()).sum();
        let mut file = File::create(folder.join(&name))?;
        file.write_all(&header)?;
        fill(&mut file, tensors)?;
        file.set_len(header.len() as u64 + data)?;
        map.extend(tensors.iter().map(|(tensor, _)| (tensor.clone(), name.clone())));
    }
    if shards.len() > 1 {
        let bytes: u64 = shards.iter().flatten().map(|(_, meta)| meta.bytes()).sum();
        let index = json!({ "metadata": { "total_size": bytes }, "weight_map": map });
        fs::write(folder.join("model.safetensors.index.json"), index.to_string())?;
    }
    Ok(fs::write(folder.join("config.json"), config(model))?)
}

fn config(model: Llama) -> String {
    let heads = model.hidden / HEAD;
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16",
        "hidden_size": model.hidden, "intermediate_size": model.inter, "head_dim": HEAD,
        "num_hidden_layers": model.layers, "num_attention_heads": heads,
        "num_key_value_heads": heads / HEADS_PER_KEY, "vocab_size": model.vocab,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "max_position_embeddings": 2048,
        "tie_word_embeddings": false,
    });
    format!("{config:#}\n")
}

fn tensors(model: Llama) -> Result<Vec<Tensor>> {
    let Llama { hidden, inter, layers, vocab } = model;
    let keys = hidden / HEADS_PER_KEY;
    let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![vocab, hidden])];
    for layer in 0..layers {
        let parts: [(&str, &[usize]); 9] = [
            ("input_layernorm", &[hidden]),
            ("self_attn.q_proj", &[hidden, hidden]),
            ("self_attn.k_proj", &[keys, hidden]),
            ("self_attn.v_proj", &[keys, hidden]),
            ("self_attn.o_proj", &[hidden, hidden]),
            ("post_attention_layernorm", &[hidden]),
            ("mlp.gate_proj", &[inter, hidden]),
            ("mlp.up_proj", &[inter, hidden]),
            ("mlp.down_proj", &[hidden, inter]),
        ];
        let named = |(name, shape): (&str, &[usize])| {
            (format!("model.layers.{layer}.{name}.weight"), shape.to_vec())
        };
        tensors.extend(parts.map(named));
    }
    tensors.push(("model.norm.weight".to_owned(), vec![hidden]));
    tensors.push(("lm_head.weight".to_owned(), vec![vocab, hidden]));
    let meta = |(name, shape)| Ok((name, TensorMeta::new(Dtype::BF16, shape)?));
    tensors.into_iter().map(meta).collect()
}

/// Nearly normal BF16 values with a spread of 0.02.
fn values() -> Vec<u8> {
    let mut random = Generator::new(1);
    let mut bytes = Vec::with_capacity(2 * VALUES);
    for _ in 0..VALUES {
        let bits = random.next();
        let sum: u64 = (0..3).map(|place| (bits >> (21 * place)) & 0x1f_ffff).sum();
        let value = 0.02 * (sum as f32 / 1_048_576.0 - 3.0);
        bytes.extend_from_slice(&value.to_bits().to_le_bytes()[2..]);
    }
    bytes
}

/// Writes `bytes` bytes of the values, from the value `first` on and around.
fn filled(file: &mut impl Write, values: &[u8], first: usize, mut bytes: u64) -> Result<()> {
    let mut at = 2 * first % values.len();
    while bytes > 0 {
        let piece = (values.len() - at).min(usize::try_from(bytes).unwrap_or(usize::MAX));
        file.write_all(&values[at..at + piece])?;
        bytes -= piece as u64;
        at = 0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_checkpoint::Source;

    #[test]
    fn what_is_made_is_a_checkpoint() {
        let folder = std::env::temp_dir().join(format!("llmopt-bench-{}", std::process::id()));
        let model = Llama { hidden: 512, inter: 64, layers: 3, vocab: 100 };
        sparse(&folder.join("sparse"), model, 4).unwrap();
        random(&folder.join("random"), model).unwrap();
        for (name, shards) in [("sparse", 4), ("random", 1)] {
            let source = Source::open(&folder.join(name)).unwrap();
            assert_eq!((source.shards().len(), source.tensors().len()), (shards, 3 + 9 * 3));
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
