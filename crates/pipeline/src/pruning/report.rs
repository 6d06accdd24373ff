//! `llmopt.json` of a pruned model: what was removed where, and what it cost.

use crate::pruning::cut::Cut;
use crate::pruning::depth::FoundLayers;
use crate::pruning::mix::{LeftOut, PruneDecision};
use crate::pruning::plan::PrunePlan;
use crate::pruning::recipe::PruneRecipe;
use crate::report::CalibrationReport;
use crate::unknown::UnknownTensors;
use llmopt_data::CalibrationFacts;
use llmopt_rewrite::{Envelope, FileHashes, Planned, Records, Treatment};
use llmopt_verify::PrunedUnits;
use serde::Serialize;
use serde_json::Value;
use std::io;

/// The record of a run. It holds no clock, no host name and no absolute path.
#[derive(Clone, Debug, Serialize)]
pub struct PruneReport {
    /// What every report tells.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// What was asked for, as resolved.
    pub recipe: PruneRecipe,
    /// Parameters of the blocks before.
    pub block_parameters: u64,
    /// Parameters of the blocks after.
    pub block_parameters_left: u64,
    /// The share that was removed.
    pub sparsity: f64,
    /// What widths are multiples of.
    pub align: usize,
    /// What the model was observed on; none, if weights alone decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationReport>,
    /// The axes that lost something.
    pub axes: Vec<&'static str>,
    /// Mixes of axes that this model cannot have, or not at this sparsity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// How it was decided among several mixes of axes, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<PruneDecision>,
    /// Which layers went, and what else was tried; none, if all stayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<FoundLayers>,
    /// Every place that lost units, or stands in for layers that went.
    pub pruned: Vec<PrunedUnits>,
    /// Every tensor of the source that went as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<RemovedTensor>,
    /// What the model has that its family does not: it passed through as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_tensors: Option<UnknownTensors>,
    /// Every tensor of the artifact, in the order of the files.
    pub tensors: Vec<PrunedTensor>,
}

/// An artifact of which only the report is missing, and what was cut.
#[derive(Clone, Copy)]
pub(super) struct Pruned<'a> {
    pub(super) cut: &'a Cut,
    /// Which layers go, if any do.
    pub(super) layers: Option<&'a FoundLayers>,
    pub(super) records: &'a Records,
    pub(super) hashes: &'a FileHashes,
    /// What the model was observed on, if it was.
    pub(super) data: Option<&'a CalibrationFacts>,
    /// How it was made.
    pub(super) made_from: Option<&'a Value>,
}

/// A tensor of which nothing is left.
#[derive(Clone, Debug, Serialize)]
pub struct RemovedTensor {
    /// Its name in the source.
    pub name: String,
    /// Its type and shape.
    pub source: String,
    /// Its bytes.
    pub bytes: u64,
}

/// What was done to a tensor.
#[derive(Clone, Debug, Serialize)]
pub struct PrunedTensor {
    /// Its name.
    pub name: String,
    /// Its name in the source, where layers before it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `kept`, `sliced`, `refitted` or `added`.
    pub what: &'static str,
    /// Its type and shape in the source; `nothing` for one that was added.
    pub source: String,
    /// Its type and shape in the artifact.
    pub artifact: String,
    /// Bytes in the source.
    pub bytes_before: u64,
    /// Bytes in the artifact.
    pub bytes_after: u64,
}

impl PruneReport {
    /// Puts together what was found: what was written, what was observed, and how it was decided among several mixes of axes.
    pub(super) fn new(
        plan: &PrunePlan,
        pruned: Pruned<'_>,
        decision: Option<PruneDecision>,
    ) -> Self {
        let Pruned { cut, layers, records, hashes, data, made_from } = pruned;
        let model = plan.variant.model();
        let kernel = plan.engine.gemm().name();
        Self {
            envelope: Envelope {
                made_from: made_from.cloned(),
                ..Envelope::new(
                    &cut.artifact,
                    model.family().map(|family| family.name().to_owned()),
                    plan.source().side_files(),
                    plan.files_of(cut),
                    hashes,
                )
            },
            recipe: plan.recipe.clone(),
            block_parameters: model.block_parameters(),
            block_parameters_left: model.parameters_left(&cut.shape),
            sparsity: model.sparsity(&cut.shape),
            align: plan.reached.align,
            calibration: data.cloned().map(|data| CalibrationReport { kernel, data }),
            axes: cut.axes(),
            left_out: Vec::new(),
            unknown_tensors: UnknownTensors::of(model, &plan.recipe.runtimes),
            decision,
            layers: layers.cloned(),
            pruned: cut.groups.iter().filter_map(|group| records.facts(&group.reader)).collect(),
            removed: removed(plan, cut),
            tensors: tensors(plan, cut),
        }
    }

    /// Writes the file's content.
    pub(super) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        out.write_all(b"\n")
    }
}

fn removed(plan: &PrunePlan, cut: &Cut) -> Vec<RemovedTensor> {
    let model = plan.variant.model();
    let shards = plan.variant.source().shards().iter();
    let entries = shards.flat_map(|shard| shard.header.tensors());
    let gone = entries.filter(|entry| model.renamed(&entry.name, &cut.shape.layers).is_none());
    gone.map(|entry| RemovedTensor {
        name: entry.name.clone(),
        source: entry.meta.to_string(),
        bytes: entry.meta.bytes(),
    })
    .collect()
}

fn tensors(plan: &PrunePlan, cut: &Cut) -> Vec<PrunedTensor> {
    let source = plan.variant.source();
    let told = |Planned { named, origin, tensor, .. }: Planned<'_>| {
        let before = source.meta(origin);
        PrunedTensor {
            name: named.name.to_owned(),
            from: (named.name != origin).then(|| origin.to_owned()),
            what: match (&tensor.treatment, before) {
                (_, None) => "added",
                (Treatment::Slice, _) => "sliced",
                (Treatment::Refit, _) => "refitted",
                _ => "kept",
            },
            source: before.map_or_else(|| "nothing".to_owned(), ToString::to_string),
            artifact: named.meta.to_string(),
            bytes_before: before.map_or(0, |meta| meta.bytes()),
            bytes_after: named.meta.bytes(),
        }
    };
    cut.artifact.tensors().map(told).collect()
}
