//! `llmopt.json`: what was done to every tensor, and what it cost.
//!
//! It holds no clock, no host name and no absolute path: the same run gives the same report.

use crate::calibration::facts::Calibrated;
use crate::calibration::smoothing::{PlannedSmoothing, SmoothingReport};
use crate::decision::Decision;
use crate::mixed::MixedReport;
use crate::output_loss::OutputLoss;
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::run::Swept;
use crate::select::Fallback;
use crate::stacked::StackedExperts;
use crate::unknown::UnknownTensors;
use llmopt_checkpoint::HeaderEntry;
use llmopt_data::CalibrationFacts;
use llmopt_rewrite::{BlockRuns, Envelope, OutputTensor, Records};
use llmopt_run::NonFinite;
use llmopt_scheme::SquaredError;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;

/// The record of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What every report tells.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// What was asked for, as resolved.
    pub recipe: Recipe,
    /// The oldest compressed-tensors that unpacks the artifact as it is meant; none for a dense one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compressed_tensors: Option<&'static str>,
    /// Weights of the model, counted before anything was done to them.
    pub parameters: u64,
    /// Bits of the weight files per weight, over the whole model.
    pub bits_per_weight: f64,
    /// Bits per weight of the linears alone, scales and zero points included; none without linears.
    pub linear_bits_per_weight: Option<f64>,
    /// What the model was observed on; none, if weights alone decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationReport>,
    /// Which channels were smoothed, with which scales; none, if none was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing: Option<SmoothingReport>,
    /// How often this attempt ran the blocks; none, if it did not. The file beside the artifact does not
    /// tell: it is the same however often a run was interrupted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_runs: Option<BlockRuns>,
    /// Which of several artifacts this is, and why; none, if there was but one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// How schemes were allocated to units; none, if all that are quantized have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixed: Option<MixedReport>,
    /// What the outputs of quantized matrices lost, where their inputs were observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_error: Option<OutputLoss>,
    /// What the weights lost, over all quantized tensors together.
    pub quantized: Loss,
    /// The tensor whose weights have the greatest relative error.
    pub worst: Option<String>,
    /// Layers that got something else than was asked for.
    pub fallbacks: Vec<Fallback>,
    /// Experts that stayed dense because they are stacked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stacked_experts: Option<StackedExperts>,
    /// Tensors that are not finite, as they were allowed to be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nonfinite: Vec<NonFinite>,
    /// What the model has that its family does not: it passed through as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_tensors: Option<UnknownTensors>,
    /// Every tensor of the source, in the order of the files.
    pub tensors: Vec<TensorReport>,
}

/// What the weights lost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Loss {
    /// Relative Frobenius error, `|W - Q| / |W|`.
    pub relative_error: f64,
    /// Signal to quantization noise ratio in dB; none when nothing was lost.
    pub sqnr_db: Option<f64>,
}

/// What was done to a tensor.
#[derive(Clone, Debug, Serialize)]
pub struct TensorReport {
    /// Its name in the source.
    pub name: String,
    /// `kept`, `smoothed`, `dequantized`, a scheme, or where it went.
    pub what: String,
    /// Its type and shape in the source.
    pub source: String,
    /// Bytes in the source.
    pub bytes_before: u64,
    /// Bytes in the artifact.
    pub bytes_after: u64,
    /// What its weights lost, if it was quantized.
    #[serde(flatten)]
    pub loss: Option<Loss>,
    /// How it was quantized, if with what its inputs showed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<Calibrated>,
}

/// What a model was observed on, and with what.
#[derive(Clone, Debug, Serialize)]
pub struct CalibrationReport {
    /// What computed the products.
    pub kernel: &'static str,
    /// The data.
    #[serde(flatten)]
    pub data: CalibrationFacts,
}

impl Report {
    /// Puts together what the sweeps found, what was observed, and how the source was made.
    pub(crate) fn new(
        plan: &Plan,
        swept: Swept,
        data: Option<CalibrationFacts>,
        made_from: Option<Value>,
    ) -> Self {
        let (artifact, finished) = (&plan.artifact, &swept.finished);
        let (errors, mut calibrated) =
            (finished.records.errors(artifact), calibrated(&finished.records));
        let told = calibrated.iter().filter_map(|(tensor, facts)| {
            Some(Fallback { tensor: tensor.clone(), why: facts.fallback.clone()? })
        });
        let fallbacks = plan.fallbacks.iter().cloned().chain(told).collect();
        let report = |((entry, place), error)| {
            TensorReport::new(entry, place, error, calibrated.remove(&entry.name))
        };
        let tensors: Vec<TensorReport> =
            plan.places().zip(errors.iter().copied()).map(report).collect();
        let mut all = SquaredError::default();
        for ((_, place), &error) in plan.places().zip(&errors) {
            if place.scheme().is_some() {
                all.add(error);
            }
        }
        let error_of =
            |tensor: &&TensorReport| tensor.loss.map_or(-1.0, |loss| loss.relative_error);
        let worst = tensors
            .iter()
            .filter(|tensor| tensor.loss.is_some())
            .max_by(|a, b| error_of(a).total_cmp(&error_of(b)));
        Self {
            envelope: Envelope {
                made_from,
                ..Envelope::new(
                    artifact,
                    plan.model.family().map(|family| family.name().to_owned()),
                    plan.side_files(),
                    plan.files(),
                    &finished.hashes,
                )
            },
            recipe: plan.recipe.clone(),
            compressed_tensors: (!plan.recipe.format.is_dense())
                .then(|| plan.quantization.version()),
            parameters: plan.parameters(),
            bits_per_weight: plan.bits_per_weight(),
            linear_bits_per_weight: plan.linear_bits_per_weight(),
            calibration: data.zip(plan.calibration.as_ref()).map(|(data, calibration)| {
                CalibrationReport { kernel: calibration.kernel(), data }
            }),
            smoothing: plan.smoothing.as_ref().and_then(PlannedSmoothing::report),
            block_runs: None,
            decision: None,
            mixed: None,
            output_error: OutputLoss::of(
                tensors
                    .iter()
                    .filter_map(|tensor| Some((tensor.name.as_str(), tensor.calibrated.as_ref()?))),
            ),
            quantized: Loss::from(all),
            worst: worst.map(|tensor| tensor.name.clone()),
            fallbacks,
            stacked_experts: StackedExperts::of(plan.model.stacks().iter()),
            nonfinite: plan.nonfinite.clone(),
            unknown_tensors: UnknownTensors::of(&plan.model, &plan.recipe.runtimes),
            tensors,
        }
    }

    /// Writes the file's content.
    pub(crate) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        out.write_all(b"\n")
    }
}

/// What calibration made of each tensor.
fn calibrated(records: &Records) -> BTreeMap<String, Calibrated> {
    let facts = |tensor: String| Some((records.facts(&tensor)?, tensor));
    records.groups().into_iter().filter_map(facts).map(|(facts, tensor)| (tensor, facts)).collect()
}

impl TensorReport {
    fn new(
        entry: &HeaderEntry,
        place: &OutputTensor,
        error: SquaredError,
        calibrated: Option<Calibrated>,
    ) -> Self {
        Self {
            name: entry.name.clone(),
            what: place.treatment.to_string(),
            source: entry.meta.to_string(),
            bytes_before: entry.meta.bytes(),
            bytes_after: place.stored_bytes(entry),
            loss: place.scheme().map(|_| Loss::from(error)),
            calibrated,
        }
    }
}

impl From<SquaredError> for Loss {
    fn from(error: SquaredError) -> Self {
        Self { relative_error: error.relative(), sqnr_db: error.sqnr_db() }
    }
}
