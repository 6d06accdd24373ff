//! `llmopt.json` of a pruned model: what was removed where, and what it cost.

use super::journal::Records;
use super::layout::Fate;
use super::plan::PrunePlan;
use super::recipe::PruneRecipe;
use super::target::PrunedUnits;
use crate::{CalibrationFacts, CalibrationReport, FileFacts};
use llmopt_checkpoint::sha256;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;

/// The record of a run. It holds no clock, no host name and no absolute path.
#[derive(Clone, Debug, Serialize)]
pub struct PruneReport {
    /// `llmopt`.
    pub tool: &'static str,
    /// The version that ran.
    pub version: &'static str,
    /// What was asked for, as resolved.
    pub recipe: PruneRecipe,
    /// The model's family.
    pub family: Option<String>,
    /// Every file that was read, by name.
    pub inputs: BTreeMap<String, FileFacts>,
    /// Every file that was written, except this one.
    pub outputs: BTreeMap<String, FileFacts>,
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
    /// Every place that lost units.
    pub pruned: Vec<PrunedUnits>,
    /// Every tensor of the artifact, in the order of the files.
    pub tensors: Vec<PrunedTensor>,
}

/// What was done to a tensor.
#[derive(Clone, Debug, Serialize)]
pub struct PrunedTensor {
    /// Its name.
    pub name: String,
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
    /// Puts together what was found: what is known of every place, what was observed, the hashes of the
    /// source's and the artifact's weight files, and those of the files beside them.
    pub(super) fn new(
        plan: &PrunePlan,
        records: &Records,
        data: Option<CalibrationFacts>,
        read: &[String],
        written: &[String],
        beside: BTreeMap<String, String>,
    ) -> Self {
        let model = plan.variant.model();
        let kernel = plan.engine.gemm().name();
        Self {
            tool: "llmopt",
            version: env!("CARGO_PKG_VERSION"),
            recipe: plan.recipe.clone(),
            family: model.family().map(|family| family.name().to_owned()),
            inputs: inputs(plan, read, &beside),
            outputs: outputs(plan, written, beside),
            block_parameters: model.block_parameters(),
            block_parameters_left: model.parameters_left(&plan.reached.shape),
            sparsity: plan.reached.sparsity,
            align: plan.reached.align,
            calibration: data.map(|data| CalibrationReport { kernel, data }),
            pruned: records.units().cloned().collect(),
            tensors: tensors(plan),
        }
    }

    /// Writes the file's content.
    pub(super) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        out.write_all(b"\n")
    }
}

fn tensors(plan: &PrunePlan) -> Vec<PrunedTensor> {
    let source = plan.variant.source();
    let told = |(_, tensor): (usize, &super::layout::OutTensor)| {
        let before = source.meta(&tensor.name);
        PrunedTensor {
            name: tensor.name.clone(),
            what: match (tensor.fate, before) {
                (_, None) => "added",
                (Fate::Kept | Fate::Zeros, _) => "kept",
                (Fate::Sliced, _) => "sliced",
                (Fate::Refitted | Fate::Bias, _) => "refitted",
            },
            source: before.map_or_else(|| "nothing".to_owned(), ToString::to_string),
            artifact: tensor.meta.to_string(),
            bytes_before: before.map_or(0, |meta| meta.bytes()),
            bytes_after: tensor.meta.bytes(),
        }
    };
    plan.layout.tensors().map(told).collect()
}

fn inputs(
    plan: &PrunePlan,
    read: &[String],
    beside: &BTreeMap<String, String>,
) -> BTreeMap<String, FileFacts> {
    let source = plan.variant.source();
    let shards = source.shards().iter().zip(read).map(|(shard, sha256)| {
        (shard.name.clone(), FileFacts { bytes: shard.bytes, sha256: sha256.clone() })
    });
    let config = source.config_bytes().map(|bytes| {
        let facts = FileFacts { bytes: bytes.len() as u64, sha256: sha256(bytes) };
        ("config.json".to_owned(), facts)
    });
    // Side files are copied, so their hashes are the same before and after.
    let side = source.side_files().iter().filter_map(|side| {
        let facts = FileFacts { bytes: side.bytes, sha256: beside.get(&side.name)?.clone() };
        Some((side.name.clone(), facts))
    });
    shards.chain(config).chain(side).collect()
}

fn outputs(
    plan: &PrunePlan,
    written: &[String],
    beside: BTreeMap<String, String>,
) -> BTreeMap<String, FileFacts> {
    let sizes = plan.files();
    let shards =
        plan.layout.shards.iter().map(|shard| shard.name.clone()).zip(written.iter().cloned());
    let facts = |(name, sha256): (String, String)| {
        let bytes = sizes.get(&name).copied().unwrap_or_default();
        (name, FileFacts { bytes, sha256 })
    };
    shards.chain(beside).map(facts).collect()
}
