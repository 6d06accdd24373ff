//! What the report beside an artifact tells of how it was made: by which command, method and data.
//!
//! It came with the artifact. Nothing here is needed to read a weight, and nothing is believed that the
//! files contradict: [`Recorded::Unreadable`] and [`Record::is_of`] say so.

use crate::select::Fallback;
use llmopt_checkpoint::{Source, read_bytes};
use llmopt_data::CalibrationFacts;
use llmopt_model::report_file;
use llmopt_run::Error;
use llmopt_scheme::Scheme;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What lies where a report would.
#[derive(Debug)]
pub(crate) enum Recorded {
    /// Nothing.
    Nothing,
    /// Something that is no report, and why not.
    Unreadable(String),
    /// A report.
    Found(Box<Record>),
}

/// How an artifact was made.
#[derive(Clone, Debug, Serialize)]
pub struct RecordFacts {
    /// The name of the report's file.
    pub file: String,
    /// What wrote it.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// `quantize` or `prune`.
    pub command: &'static str,
    /// The method asked for.
    pub method: String,
    /// How one of several artifacts got the name; none, if there was but one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<RecordedDecision>,
    /// The scheme asked for, if it was quantized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// How the scales of channels were chosen, if it was smoothed: `least-noise`, or a strength.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothed: Option<Value>,
    /// The oldest compressed-tensors that unpacks it as it is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compressed_tensors: Option<String>,
    /// What was removed, if it was pruned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned: Option<RecordedPruning>,
    /// What the model was observed on; none, if weights alone decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<RecordedCalibration>,
    /// Whether the sizes of the weight files are those that it lists.
    pub sizes_agree: bool,
}

/// Data that a model was observed on, and what computed the products.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct RecordedCalibration {
    /// What computed the products.
    pub kernel: String,
    /// The data.
    #[serde(flatten)]
    pub data: CalibrationFacts,
}

/// The choice between artifacts of several methods.
#[derive(Clone, Debug, Serialize)]
pub struct RecordedDecision {
    /// What was taken: a method, or axes.
    pub chosen: String,
    /// What it was taken from.
    pub candidates: Vec<String>,
    /// Windows that decided. Nothing was fitted to them.
    pub windows: usize,
}

/// What pruning removed.
#[derive(Clone, Debug, Serialize)]
pub struct RecordedPruning {
    /// The share of the blocks' parameters that went.
    pub sparsity: f64,
    /// The blocks' parameters before.
    pub block_parameters: u64,
    /// The axes that lost something.
    pub axes: Vec<String>,
    /// Whether the matrices that read what was removed were refitted.
    pub refit: bool,
}

/// The part of a report that is read.
#[derive(Debug, Deserialize)]
pub(crate) struct Record {
    tool: String,
    version: String,
    recipe: RecordedRecipe,
    outputs: BTreeMap<String, RecordedOutput>,
    compressed_tensors: Option<String>,
    calibration: Option<RecordedCalibration>,
    decision: Option<DecisionFile>,
    sparsity: Option<f64>,
    block_parameters: Option<u64>,
    #[serde(default)]
    axes: Vec<String>,
    #[serde(default)]
    fallbacks: Vec<Fallback>,
    tensors: Vec<RecordedTensor>,
}

#[derive(Debug, Deserialize)]
struct RecordedRecipe {
    method: String,
    scheme: Option<Scheme>,
    smooth: Option<Value>,
    #[serde(default)]
    refit: bool,
}

#[derive(Debug, Deserialize)]
struct RecordedOutput {
    bytes: u64,
}

#[derive(Debug, Deserialize)]
struct DecisionFile {
    windows: usize,
    chosen: Chosen,
    #[serde(default)]
    candidates: Vec<CandidateFile>,
}

#[derive(Debug, Deserialize)]
struct CandidateFile {
    method: Option<String>,
    #[serde(default)]
    axes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Chosen {
    Method(String),
    Axes(Vec<String>),
}

/// What was done to a tensor.
#[derive(Debug, Deserialize)]
pub(crate) struct RecordedTensor {
    pub(crate) name: String,
    /// `kept`, `dequantized`, a scheme, ...
    pub(crate) what: String,
    calibrated: Option<RecordedMethod>,
}

#[derive(Debug, Deserialize)]
struct RecordedMethod {
    method: String,
}

impl RecordedTensor {
    /// How its codes were chosen, where its inputs were observed.
    pub(crate) fn method(&self) -> Option<&str> {
        self.calibrated.as_ref().map(|calibrated| calibrated.method.as_str())
    }
}

impl Record {
    /// Reads what lies beside the weights.
    ///
    /// # Errors
    /// If the system cannot read it.
    pub(crate) fn beside(source: &Source) -> Result<Recorded, Error> {
        let Some(path) = report_file::path(source) else { return Ok(Recorded::Nothing) };
        let bytes = match read_bytes(&path, report_file::LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.is_input() => return Ok(Recorded::Unreadable(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        Ok(match serde_json::from_slice(&bytes) {
            Ok(record) => Recorded::Found(Box::new(record)),
            Err(error) => Recorded::Unreadable(format!("it is no report of a run: {error}")),
        })
    }

    /// What it tells of the whole.
    pub(crate) fn facts(&self, source: &Source) -> RecordFacts {
        let pruned = self.sparsity.map(|sparsity| RecordedPruning {
            sparsity,
            block_parameters: self.block_parameters.unwrap_or(0),
            axes: self.axes.clone(),
            refit: self.recipe.refit,
        });
        RecordFacts {
            file: report_file::name(source).unwrap_or_default(),
            tool: self.tool.clone(),
            version: self.version.clone(),
            command: if pruned.is_some() { "prune" } else { "quantize" },
            method: self.recipe.method.clone(),
            decision: self.decision.as_ref().map(DecisionFile::told),
            scheme: self.recipe.scheme.map(|scheme| scheme.name()),
            smoothed: self.recipe.smooth.clone(),
            compressed_tensors: self.compressed_tensors.clone(),
            pruned,
            calibration: self.calibration.clone(),
            sizes_agree: self.is_of(source),
        }
    }

    /// What was done to each tensor, by its name.
    pub(crate) fn tensors(&self) -> BTreeMap<&str, &RecordedTensor> {
        self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect()
    }

    /// Why tensors got something else than was asked for, by their names.
    pub(crate) fn fallbacks(&self) -> BTreeMap<&str, &str> {
        let fallbacks = self.fallbacks.iter();
        fallbacks.map(|fallback| (fallback.tensor.as_str(), fallback.why.as_str())).collect()
    }

    /// Whether the weight files have the sizes that it lists.
    fn is_of(&self, source: &Source) -> bool {
        let is_listed = |name: &String, bytes: u64| {
            self.outputs.get(name).is_some_and(|output| output.bytes == bytes)
        };
        source.shards().iter().all(|shard| is_listed(&shard.name, shard.bytes))
    }
}

/// Numbers of any precision do not go through a flattened field.
impl TryFrom<Value> for RecordedCalibration {
    type Error = String;

    fn try_from(mut value: Value) -> Result<Self, String> {
        let kernel = value.get_mut("kernel").map(Value::take);
        let kernel =
            kernel.as_ref().and_then(Value::as_str).ok_or("`calibration` has no `kernel`")?;
        let data =
            serde_json::from_value(value).map_err(|error| format!("`calibration`: {error}"))?;
        Ok(Self { kernel: kernel.to_owned(), data })
    }
}

impl DecisionFile {
    fn told(&self) -> RecordedDecision {
        let chosen = match &self.chosen {
            Chosen::Method(method) => method.clone(),
            Chosen::Axes(axes) => axes.join(" and "),
        };
        let name = |found: &CandidateFile| match &found.method {
            Some(method) => method.clone(),
            None => found.axes.join(" and "),
        };
        let candidates = self.candidates.iter().map(name).collect();
        RecordedDecision { chosen, candidates, windows: self.windows }
    }
}
