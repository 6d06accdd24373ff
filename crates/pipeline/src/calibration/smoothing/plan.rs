//! What is smoothed, decided from headers.

use crate::calibration::budget::CalibrationMemory;
use crate::calibration::smoothing::recipe::Smooth;
use crate::select::Selection;
use llmopt_arch::Program;
use llmopt_arch::program::{Block, Operation};
use llmopt_arch::smoothing::{Maker, SmoothingPair, Unsmoothed};
use llmopt_calib::{Extent, InputSite};
use llmopt_model::{Checkpoint, Smoothing, Variant};
use llmopt_run::Error;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// Smoothing that can be carried out, and its scales as soon as they are decided.
pub(crate) struct PlannedSmoothing {
    pub(super) smooth: Smooth,
    /// The pairs of each block.
    pub(super) blocks: Vec<Vec<SmoothingPair>>,
    pub(super) refused: Vec<UnsmoothedInputs>,
    /// Tensors that something falls on.
    tensors: BTreeSet<String>,
    /// What the sweep takes that finds scales; none in the plan of an alternative, for which they are found.
    pub(crate) memory: Option<CalibrationMemory>,
    decided: OnceLock<Decided>,
}

struct Decided {
    smoothing: Arc<Smoothing>,
    /// The model that is observed and rewritten.
    variant: Option<Variant>,
}

/// Inputs of matrices that stay as they are, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnsmoothedInputs {
    /// The matrices that read them.
    pub readers: Vec<String>,
    /// What stands in the way.
    pub why: String,
}

impl PlannedSmoothing {
    /// Finds what can be smoothed for the sake of the matrices that are `selected`.
    ///
    /// # Errors
    /// If the model cannot be run, or nothing of it can be smoothed.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        selected: &Selection,
        smooth: Smooth,
    ) -> Result<Self, Error> {
        let variant = Variant::of(checkpoint)?;
        let program = variant.program();
        let mut refused = Vec::new();
        let blocks: Vec<Vec<SmoothingPair>> = program
            .blocks
            .iter()
            .map(|block| pairs(program, block, &variant, selected, &mut refused))
            .collect();
        let tensors: BTreeSet<String> = blocks.iter().flatten().flat_map(tensors).collect();
        if tensors.is_empty() {
            return Err(nothing(&refused));
        }
        Ok(Self { smooth, blocks, refused, tensors, memory: None, decided: OnceLock::new() })
    }

    /// Whether something falls on a tensor.
    pub(crate) fn changes(&self, tensor: &str) -> bool {
        self.tensors.contains(tensor)
    }

    /// The smoothed model's weights, once scales are decided.
    pub(crate) fn decided(&self) -> Option<&Arc<Smoothing>> {
        Some(&self.decided.get()?.smoothing)
    }

    /// The smoothed model, once scales are decided, where it is to be observed.
    pub(crate) fn variant(&self) -> Option<&Variant> {
        self.decided.get()?.variant.as_ref()
    }

    /// Takes the decision. One that is taken already stays: the same plan decides the same.
    pub(crate) fn decide(&self, smoothing: &Arc<Smoothing>, variant: Option<&Variant>) {
        self.decided.get_or_init(|| Decided {
            smoothing: smoothing.clone(),
            variant: variant.map(|variant| variant.clone().smoothed(smoothing.clone())),
        });
    }

    /// Where the channels of each pair of a block are seen.
    pub(super) fn sites(&self, number: usize, block: &Block) -> Vec<InputSite> {
        let site = |pair: &SmoothingPair| InputSite {
            phase: pair.phase,
            tap: pair.tap,
            extent: Extent { columns: pair.channels, residual: None },
            expert: block.phases[pair.phase].expert,
            tensors: pair.readers.clone(),
        };
        self.blocks[number].iter().map(site).collect()
    }
}

/// The pairs of a block that are worth it; why the others are not is added to `refused`.
fn pairs(
    program: &Program,
    block: &Block,
    variant: &Variant,
    selected: &Selection,
    refused: &mut Vec<UnsmoothedInputs>,
) -> Vec<SmoothingPair> {
    let found = program.smoothing(block);
    let told = |Unsmoothed { readers, reason }: Unsmoothed| UnsmoothedInputs {
        readers,
        why: reason.to_string(),
    };
    refused.extend(found.refused.into_iter().map(told));
    let mut kept = Vec::new();
    for pair in found.pairs {
        match obstacle(&pair, block, variant, selected) {
            Some(why) => refused.push(UnsmoothedInputs { readers: pair.readers, why }),
            None => kept.push(pair),
        }
    }
    kept
}

/// What stands in the way of a pair that the program allows.
fn obstacle(
    pair: &SmoothingPair,
    block: &Block,
    variant: &Variant,
    selected: &Selection,
) -> Option<String> {
    if pair.readers.iter().all(|reader| selected.scheme_of(reader).is_none()) {
        return Some("none of these matrices is quantized".to_owned());
    }
    let is_stored = |tensor: &&str, axes: usize| {
        let meta = variant.source().meta(tensor);
        meta.is_some_and(|meta| meta.shape().len() == axes)
    };
    let axes = if matches!(pair.maker, Maker::Gains { .. }) { 1 } else { 2 };
    let readers = pair.readers.iter().map(|reader| (reader.as_str(), 2));
    let mut stored = readers.chain([(pair.maker.tensor(), axes)]);
    if let Some((tensor, _)) = stored.find(|(tensor, axes)| !is_stored(tensor, *axes)) {
        return Some(format!("`{tensor}` is not stored as a tensor of its own"));
    }
    is_overwritten(pair, block).then(|| "they are overwritten before they can be seen".to_owned())
}

/// Whether the phase that makes the channels makes something else of the same tap after it was read.
fn is_overwritten(pair: &SmoothingPair, block: &Block) -> bool {
    let operations = &block.phases[pair.phase].operations;
    let reads = |operation: &Operation| {
        operation.linear().is_some_and(|linear| pair.readers.contains(&linear.weight))
    };
    let first = operations.iter().position(reads).unwrap_or(operations.len());
    operations[first..].iter().any(|operation| operation.writes().contains(&pair.tap))
}

/// The tensors of a pair.
fn tensors(pair: &SmoothingPair) -> Vec<String> {
    let bias = match &pair.maker {
        Maker::Rows { bias, .. } => bias.clone(),
        Maker::Gains { .. } => None,
    };
    pair.readers.iter().cloned().chain([pair.maker.tensor().to_owned()]).chain(bias).collect()
}

fn nothing(refused: &[UnsmoothedInputs]) -> Error {
    let why = match refused.first() {
        Some(UnsmoothedInputs { readers, why }) => {
            let reader = readers.first().map_or("", String::as_str);
            format!(": the inputs of `{reader}` cannot be, because {why}")
        }
        None => String::new(),
    };
    Error::RefusedWithHint {
        what: format!("`--smooth` finds nothing to smooth in this model{why}"),
        hint: "leave it out".to_owned(),
    }
}
