//! What a pruned model's files hold, and where: known from its shape alone.

use crate::layout::INDEX;
use crate::pruning::group::PruneGroup;
use llmopt_arch::Model;
use llmopt_arch::axes::Shape;
use llmopt_checkpoint::{Header, HeaderError, Source};
use llmopt_run::Error;
use llmopt_tensor::{Dtype, TensorMeta};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Every file of weights of the artifact, in the order of the source's.
pub(super) struct Layout {
    pub(super) shards: Vec<OutShard>,
}

/// A file of weights.
pub(super) struct OutShard {
    pub(super) name: String,
    /// The number of the source's file that its tensors come from.
    pub(super) source: usize,
    metadata: BTreeMap<String, String>,
    /// Size of the whole file.
    pub(super) bytes: u64,
    /// In the order of their bytes.
    pub(super) tensors: Vec<OutTensor>,
}

/// A tensor of the artifact.
#[derive(Clone, Debug)]
pub(super) struct OutTensor {
    pub(super) name: String,
    /// Its name while all layers were there.
    pub(super) origin: String,
    pub(super) meta: TensorMeta,
    /// Where it begins in its file.
    pub(super) begin: u64,
    pub(super) fate: Fate,
}

/// What becomes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Copied byte for byte.
    Kept,
    /// Some of its rows or columns stay, as they were.
    Sliced,
    /// The columns that stay have other values.
    Refitted,
    /// A bias with what is fitted, new or where there was one.
    Bias,
    /// A bias that loaders want beside one that is fitted: zeros.
    Zeros,
}

impl OutShard {
    /// Bytes of the tensors that are known before anything is observed.
    pub(super) fn plain_bytes(&self) -> u64 {
        let plain = self.tensors.iter().filter(|tensor| tensor.fate.is_plain());
        plain.map(|tensor| tensor.meta.bytes()).sum()
    }
}

impl Fate {
    /// Whether its bytes are known before anything is observed.
    pub(super) fn is_plain(self) -> bool {
        matches!(self, Self::Kept | Self::Zeros)
    }
}

/// A bias that the source lacks.
#[derive(Clone, Debug)]
pub(super) struct NewBias {
    pub(super) tensor: String,
    pub(super) length: usize,
    pub(super) dtype: Dtype,
    /// The tensor beside which it is stored.
    pub(super) beside: String,
    pub(super) is_fitted: bool,
}

impl Layout {
    /// Lays out what is left of `source` when the layers `kept` stay. A file of which nothing is left
    /// goes.
    ///
    /// # Errors
    /// If a header cannot be written.
    pub(super) fn new(
        source: &Source,
        model: &Model,
        groups: &[PruneGroup],
        refit: bool,
        biases: &[NewBias],
        kept: &[usize],
    ) -> Result<Self, Error> {
        let cut = cut_tensors(model, groups, refit)?;
        let mut shards = Vec::new();
        for (number, shard) in source.shards().iter().enumerate() {
            let mut tensors: Vec<(String, TensorMeta, Fate)> = Vec::new();
            for entry in shard.header.tensors() {
                if model.renamed(&entry.name, kept).is_none() {
                    continue;
                }
                let (meta, fate) = match cut.get(entry.name.as_str()) {
                    Some((shape, fate)) => (sized(entry.meta.dtype(), shape.clone())?, *fate),
                    None => (entry.meta.clone(), Fate::Kept),
                };
                tensors.push((entry.name.clone(), meta, fate));
                for bias in biases.iter().filter(|bias| bias.beside == entry.name) {
                    let fate = if bias.is_fitted { Fate::Bias } else { Fate::Zeros };
                    let meta = sized(bias.dtype, vec![bias.length])?;
                    tensors.push((bias.tensor.clone(), meta, fate));
                }
            }
            let mut metadata = shard.header.metadata().clone();
            metadata.entry("format".to_owned()).or_insert_with(|| "pt".to_owned());
            let lone = source.index().is_none() && source.shards().len() == 1;
            let name = if lone { "model.safetensors".to_owned() } else { shard.name.clone() };
            if !tensors.is_empty() || shard.header.tensors().is_empty() {
                let renamed = |name: &str| model.renamed(name, kept);
                shards.push(OutShard::new(name, number, metadata, tensors, renamed)?);
            }
        }
        Ok(Self { shards })
    }

    /// The names of the weight files.
    pub(super) fn weight_files(&self) -> impl Iterator<Item = &str> {
        self.shards.iter().map(|shard| shard.name.as_str())
    }

    /// Every tensor with the number of its file.
    pub(super) fn tensors(&self) -> impl Iterator<Item = (usize, &OutTensor)> {
        let shards = self.shards.iter().enumerate();
        shards.flat_map(|(number, shard)| shard.tensors.iter().map(move |tensor| (number, tensor)))
    }

    /// The index, where there are several files or the source had one.
    pub(super) fn index(&self, source: &Source) -> Option<Vec<u8>> {
        if source.index().is_none() && self.shards.len() == 1 {
            return None;
        }
        let total: u64 = self.tensors().map(|(_, tensor)| tensor.meta.bytes()).sum();
        let file = |(shard, tensor): (usize, &OutTensor)| {
            (tensor.name.clone(), Value::from(self.shards[shard].name.as_str()))
        };
        let map: Map<String, Value> = self.tensors().map(file).collect();
        let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
        let mut bytes = serde_json::to_vec_pretty(&index).unwrap_or_default();
        bytes.push(b'\n');
        Some(bytes)
    }

    /// The name of the index.
    pub(super) const INDEX: &'static str = INDEX;
}

impl OutShard {
    fn new(
        name: String,
        source: usize,
        metadata: BTreeMap<String, String>,
        tensors: Vec<(String, TensorMeta, Fate)>,
        renamed: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let mut origins = BTreeMap::new();
        let mut metas = Vec::new();
        for (origin, meta, fate) in tensors {
            let name = renamed(&origin).unwrap_or_else(|| origin.clone());
            origins.insert(name.clone(), (origin, fate));
            metas.push((name, meta));
        }
        Header::reference_order(&mut metas);
        let (header, begins) = Header::encode(&metadata, &metas).map_err(unwritable)?;
        let head = header.len() as u64;
        let bytes = head + metas.iter().map(|(_, meta)| meta.bytes()).sum::<u64>();
        let placed = metas.into_iter().zip(begins);
        let tensors = placed.map(|((name, meta), begin)| {
            let (origin, fate) = origins[&name].clone();
            OutTensor { name, origin, meta, begin: head + begin, fate }
        });
        let mut tensors: Vec<OutTensor> = tensors.collect();
        tensors.sort_by_key(|tensor| (tensor.begin, tensor.meta.bytes()));
        Ok(Self { name, source, metadata, bytes, tensors })
    }

    /// Its header: length and JSON.
    pub(super) fn header(&self) -> Result<Vec<u8>, Error> {
        let mut metas: Vec<(String, TensorMeta)> =
            self.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.meta.clone())).collect();
        Header::reference_order(&mut metas);
        Ok(Header::encode(&self.metadata, &metas).map_err(unwritable)?.0)
    }
}

/// The shape and fate of every tensor that loses something.
fn cut_tensors<'a>(
    model: &Model,
    groups: &'a [PruneGroup],
    refit: bool,
) -> Result<BTreeMap<&'a str, (Vec<usize>, Fate)>, Error> {
    let mut cut = BTreeMap::new();
    for group in groups {
        // Any units stand for those that will stay: sizes do not depend on which.
        let some: Vec<usize> = (0..group.keep).collect();
        for part in group.written_parts() {
            let shape = match group.is_whole() {
                true => model.get(&part.tensor).map_or_else(Vec::new, |t| t.meta.shape().to_vec()),
                false => {
                    let slice = model.slices(&part.tensor, group.kept(&some));
                    slice.ok_or_else(|| uncut(&part.tensor))?.shape()
                }
            };
            let is_moved = group.moved_tensors().any(|tensor| tensor == part.tensor);
            let is_fitted = refit && (is_moved || part.tensor == group.reader);
            let fate = if is_fitted { Fate::Refitted } else { Fate::Sliced };
            cut.insert(part.tensor.as_str(), (shape, fate));
        }
        if let Some(bias) = group.bias.as_deref().filter(|bias| model.get(bias).is_some()) {
            cut.insert(bias, (vec![group.rows], Fate::Bias));
        }
    }
    Ok(cut)
}

/// The biases that a switched-on key asks for and the source lacks.
pub(super) fn new_biases(
    model: &Model,
    groups: &[PruneGroup],
    shape: &Shape,
) -> Result<Vec<NewBias>, Error> {
    let cut = groups.iter().filter(|group| !group.is_whole());
    let axes: BTreeSet<_> = cut.map(|group| group.axis).collect();
    let mut biases = Vec::new();
    for axis in axes {
        for bias in model.biases(axis, shape) {
            let weight = bias.tensor.replace(".bias", ".weight");
            if model.get(&bias.tensor).is_some() {
                continue;
            }
            let beside = model.get(&weight).ok_or_else(|| uncut(&bias.tensor))?;
            biases.push(NewBias {
                dtype: beside.meta.dtype(),
                length: bias.length,
                is_fitted: bias.is_reader,
                tensor: bias.tensor,
                beside: weight,
            });
        }
    }
    Ok(biases)
}

fn sized(dtype: Dtype, shape: Vec<usize>) -> Result<TensorMeta, Error> {
    TensorMeta::new(dtype, shape).map_err(|error| Error::Refused(error.to_string()))
}

fn uncut(tensor: &str) -> Error {
    Error::Refused(format!("tensor `{tensor}` cannot be cut along the axis that it belongs to"))
}

fn unwritable(error: HeaderError) -> Error {
    Error::Input { what: format!("the output's header cannot be written: {error}"), hint: None }
}
