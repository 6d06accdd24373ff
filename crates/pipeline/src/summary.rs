//! A plan in figures, for people and for programs.

use crate::calibration::plan::CalibrationSummary;
use crate::calibration::smoothing::{PlannedSmoothing, SmoothingSummary};
use crate::decision::PlannedDecision;
use crate::plan::Plan;
use crate::select::Fallback;
use crate::stacked::StackedExperts;
use crate::unknown::UnknownTensors;
use llmopt_checkpoint::free_disk;
use llmopt_model::is_linear;
use llmopt_rewrite::{OutputTensor, Treatment};
use llmopt_run::{Disk, Memory, NonFinite};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What `--dry-run` shows.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The input's path.
    pub model: String,
    /// Its family; `None` when names and shapes decide.
    pub family: Option<String>,
    /// The output's path.
    pub output: String,
    /// Whether a folder comes out; a bare file otherwise.
    pub folder: bool,
    /// The scheme asked for.
    pub scheme: String,
    /// The method asked for.
    pub method: String,
    /// The files of the artifact except its report, with their exact sizes.
    pub files: Vec<PlannedFile>,
    /// The size of the source: bytes of its weight files.
    pub input_bytes: u64,
    /// The size of the artifact: bytes of its weight files, headers included.
    pub output_bytes: u64,
    /// Weights of the model.
    pub parameters: u64,
    /// Bits of the weight files per weight, over the whole model.
    pub bits_per_weight: f64,
    /// Bits per weight of the linears alone, scales and zero points included; none without linears.
    pub linear_bits_per_weight: Option<f64>,
    /// How many tensors get which treatment.
    pub actions: Vec<ActionSummary>,
    /// Every tensor of the source.
    pub tensors: Vec<PlannedTensor>,
    /// Layers that get something else than was asked for.
    pub fallbacks: Vec<Fallback>,
    /// Experts that stay dense because they are stacked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stacked_experts: Option<StackedExperts>,
    /// Tensors that are not finite, as they are allowed to be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nonfinite: Vec<NonFinite>,
    /// What the model has that its family does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_tensors: Option<UnknownTensors>,
    /// The modules that loaders are told to leave alone.
    pub ignore: Vec<String>,
    /// What changes in `config.json`.
    pub config_changes: Vec<String>,
    /// What is observed first; none, if weights alone decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationSummary>,
    /// Which channels are scaled; none, if none is to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing: Option<SmoothingSummary>,
    /// How one of several artifacts gets the name; none, if there is but one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<PlannedDecision>,
    /// Memory of the whole run, and the workers of its rewriting sweep.
    pub memory: Memory,
    /// Room on the disk.
    pub disk: Disk,
    /// What a reader should know of the model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A file of the artifact.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedFile {
    /// Its name.
    pub name: String,
    /// Its exact size.
    pub bytes: u64,
}

/// The tensors that get one treatment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ActionSummary {
    /// `kept`, a scheme, ...
    pub what: String,
    /// How many tensors.
    pub tensors: usize,
    /// Elements in them.
    pub parameters: u64,
    /// Bytes in the source.
    pub bytes_before: u64,
    /// Bytes in the artifact.
    pub bytes_after: u64,
}

/// A tensor of the source and its treatment.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedTensor {
    /// Its name.
    pub name: String,
    /// `kept`, a scheme, ...
    pub what: String,
    /// Its type and shape.
    pub source: String,
    /// Bytes in the source.
    pub bytes_before: u64,
    /// Bytes in the artifact.
    pub bytes_after: u64,
}

impl Plan {
    /// The plan in figures.
    pub fn summary(&self) -> Summary {
        let files: Vec<PlannedFile> = self
            .files()
            .into_iter()
            .map(|(name, bytes)| PlannedFile { name: name.to_owned(), bytes })
            .collect();
        let all_bytes = files.iter().map(|file| file.bytes).sum();
        Summary {
            model: self.source.path().display().to_string(),
            family: self.model.family().map(|family| family.name().to_owned()),
            output: self.output.display().to_string(),
            folder: !self.bare,
            scheme: self.most_common_scheme().to_string(),
            method: self.recipe.method.to_string(),
            files,
            input_bytes: self.source.shards().iter().map(|shard| shard.bytes).sum(),
            output_bytes: self.weight_bytes(),
            parameters: self.parameters(),
            bits_per_weight: self.bits_per_weight(),
            linear_bits_per_weight: self.linear_bits_per_weight(),
            actions: self.actions(),
            tensors: self.tensors(),
            fallbacks: self.fallbacks.clone(),
            stacked_experts: StackedExperts::of(self.model.stacks().iter()),
            nonfinite: self.nonfinite.clone(),
            unknown_tensors: UnknownTensors::of(&self.model, &self.recipe.runtimes),
            ignore: self.quantization.ignore().to_vec(),
            config_changes: self.config_changes.clone(),
            calibration: self
                .calibration
                .as_ref()
                .zip(self.recipe.calibrate.as_ref())
                .map(|(calibration, requested)| calibration.summary(requested)),
            smoothing: self.smoothing.as_ref().map(PlannedSmoothing::summary),
            decision: self.decision.clone(),
            memory: self.whole_memory(),
            disk: self.room(all_bytes),
            notes: self.all_notes(),
        }
    }

    /// What the part of the run takes that takes most.
    fn whole_memory(&self) -> Memory {
        let plans = || std::iter::once(self).chain(&self.alternatives);
        let rewriting = plans().map(|plan| (plan.memory.predicted_peak, plan.memory.smallest));
        let calibrations = plans().filter_map(|plan| plan.calibration.as_ref());
        let observing = calibrations.map(|c| (c.memory.predicted_peak, c.memory.smallest));
        let smoothing = self.smoothing.as_ref().and_then(|smoothing| smoothing.memory.as_ref());
        let smoothing = smoothing.map(|m| (m.predicted_peak, m.smallest));
        let deciding = self.decision.iter().map(|d| (d.memory.predicted_peak, d.memory.smallest));
        let parts = rewriting.chain(observing).chain(smoothing).chain(deciding);
        let (predicted_peak, smallest) =
            parts.fold((0, 0), |most, part| (most.0.max(part.0), most.1.max(part.1)));
        Memory { predicted_peak, smallest, ..self.memory }
    }

    /// The size of the artifact.
    pub(crate) fn weight_bytes(&self) -> u64 {
        self.artifact.bytes()
    }

    /// Weights of the model: what was absorbed into another tensor is no weight of its own.
    pub(crate) fn parameters(&self) -> u64 {
        let weights =
            self.places().filter(|(_, place)| !matches!(place.treatment, Treatment::Omit { .. }));
        weights.map(|(entry, _)| entry.meta.elements()).sum()
    }

    /// Bits of the weight files per weight.
    pub(crate) fn bits_per_weight(&self) -> f64 {
        self.weight_bytes() as f64 * 8.0 / self.parameters().max(1) as f64
    }

    /// Bits per weight of the linears alone.
    pub(crate) fn linear_bits_per_weight(&self) -> Option<f64> {
        let linears = self.model.tensors().iter().filter(|tensor| is_linear(tensor.role));
        let linears: BTreeSet<&str> = linears.map(|tensor| tensor.name.as_str()).collect();
        let (mut bytes, mut weights) = (0, 0);
        for (entry, place) in self.places().filter(|(entry, _)| linears.contains(&*entry.name)) {
            bytes += place.stored_bytes(entry);
            weights += entry.meta.elements();
        }
        (weights > 0).then(|| bytes as f64 * 8.0 / weights as f64)
    }

    /// The scheme asked for, with the granularity that most matrices get.
    pub(crate) fn most_common_scheme(&self) -> llmopt_scheme::Scheme {
        llmopt_scheme::Scheme { granularity: self.granularity(), ..self.recipe.scheme }
    }

    /// The granularity that most matrices get.
    fn granularity(&self) -> llmopt_scheme::Granularity {
        let group = self.quantization.groups().last();
        group.map_or(self.recipe.scheme.granularity, |group| group.scheme.granularity)
    }

    fn actions(&self) -> Vec<ActionSummary> {
        let mut actions: BTreeMap<String, ActionSummary> = BTreeMap::new();
        for (entry, place) in self.places() {
            let what = match &place.treatment {
                Treatment::Omit { .. } => "merged".to_owned(),
                action => action.to_string(),
            };
            let action = actions.entry(what.clone()).or_default();
            action.what = what;
            action.tensors += 1;
            action.parameters += entry.meta.elements();
            action.bytes_before += entry.meta.bytes();
            action.bytes_after += place.stored_bytes(entry);
        }
        let mut actions: Vec<_> = actions.into_values().collect();
        actions.sort_by_key(|action| std::cmp::Reverse(action.bytes_before));
        actions
    }

    fn tensors(&self) -> Vec<PlannedTensor> {
        let tensor =
            |(entry, place): (&llmopt_checkpoint::HeaderEntry, &OutputTensor)| PlannedTensor {
                name: entry.name.clone(),
                what: place.treatment.to_string(),
                source: entry.meta.to_string(),
                bytes_before: entry.meta.bytes(),
                bytes_after: place.stored_bytes(entry),
            };
        self.places().map(tensor).collect()
    }

    /// Room for all files of the output, and for its alternatives until one of them all has the name.
    fn room(&self, all_bytes: u64) -> Disk {
        let alternatives = self.decision.as_ref().map_or(0, |decision| decision.alternative_bytes);
        Disk { needed: all_bytes + alternatives, free: self.free_disk() }
    }

    /// Free bytes where the output goes: on the disk of the nearest folder that exists.
    fn free_disk(&self) -> Option<u64> {
        let absolute = std::path::absolute(&self.output).ok()?;
        absolute.ancestors().skip(1).find_map(|folder| free_disk(folder).ok())
    }
}
