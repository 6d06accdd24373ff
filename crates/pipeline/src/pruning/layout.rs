//! What a pruned model's files hold, and where: known from its shape alone.

use crate::pruning::group::PruneGroup;
use llmopt_arch::Model;
use llmopt_arch::axes::Shape;
use llmopt_checkpoint::Source;
use llmopt_rewrite::{ArtifactPlan, OutputShard, OutputTensor, Renamed, Treatment};
use llmopt_run::Error;
use llmopt_tensor::{Dtype, TensorMeta};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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

/// Lays out what is left of `source` when the layers `kept` stay. A file of which nothing is left goes.
///
/// # Errors
/// If a header cannot be written.
pub(super) fn laid_out(
    source: &Arc<Source>,
    model: &Model,
    groups: &[PruneGroup],
    refit: bool,
    biases: &[NewBias],
    kept: &[usize],
) -> Result<ArtifactPlan, Error> {
    let cut = cut_tensors(model, groups, refit)?;
    let mut shards = Vec::new();
    for (number, shard) in source.shards().iter().enumerate() {
        let mut tensors: Vec<(Renamed, OutputTensor)> = Vec::new();
        let mut add = |origin: &str, source, meta: TensorMeta, treatment| {
            let name = model.renamed(origin, kept).unwrap_or_else(|| origin.to_owned());
            let tensor = OutputTensor::new(treatment, &meta);
            tensors.push((Renamed { name, meta, origin: origin.to_owned(), source }, tensor));
        };
        for (position, entry) in shard.header.tensors().iter().enumerate() {
            if model.renamed(&entry.name, kept).is_none() {
                continue;
            }
            let (meta, treatment) = match cut.get(entry.name.as_str()) {
                Some((shape, how)) => (sized(entry.meta.dtype(), shape.clone())?, how.clone()),
                None => (entry.meta.clone(), Treatment::Keep),
            };
            add(&entry.name, Some(position), meta, treatment);
            for bias in biases.iter().filter(|bias| bias.beside == entry.name) {
                let treatment = if bias.is_fitted { Treatment::Refit } else { Treatment::Zero };
                add(&bias.tensor, None, sized(bias.dtype, vec![bias.length])?, treatment);
            }
        }
        let mut metadata = shard.header.metadata().clone();
        metadata.entry("format".to_owned()).or_insert_with(|| "pt".to_owned());
        let lone = source.index().is_none() && source.shards().len() == 1;
        let name = if lone { "model.safetensors".to_owned() } else { shard.name.clone() };
        if !tensors.is_empty() || shard.header.tensors().is_empty() {
            shards.push(OutputShard::of_renamed((number, shard), name, metadata, tensors)?);
        }
    }
    Ok(ArtifactPlan { source: source.clone(), shards })
}

/// The shape of every tensor that loses something, and what becomes of it.
fn cut_tensors<'a>(
    model: &Model,
    groups: &'a [PruneGroup],
    refit: bool,
) -> Result<BTreeMap<&'a str, (Vec<usize>, Treatment)>, Error> {
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
            let how = if is_fitted { Treatment::Refit } else { Treatment::Slice };
            cut.insert(part.tensor.as_str(), (shape, how));
        }
        if let Some(bias) = group.bias.as_deref().filter(|bias| model.get(bias).is_some()) {
            cut.insert(bias, (vec![group.rows], Treatment::Refit));
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
