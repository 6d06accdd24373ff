//! The report beside the weights, against the files and tensors that are there.
//!
//! It came with the artifact and is believed as little as anything else in it.

use crate::lineage::MadeFrom;
use crate::pruned::PrunedUnits;
use llmopt_arch::axes::Axis;
use llmopt_checkpoint::read_bytes;
use llmopt_model::{Artifact, Findings, ScaledPair, WEIGHT, part_of, report_file};
use llmopt_run::Error;
use llmopt_tensor::TensorMeta;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What matters here of a report.
#[derive(Debug)]
pub(crate) struct Record {
    /// The files that it was made from.
    pub(crate) inputs: BTreeMap<String, RecordedFile>,
    /// How these were made, if that is known.
    pub(crate) made_from: Option<MadeFrom>,
    pub(crate) outputs: BTreeMap<String, RecordedFile>,
    tensors: BTreeMap<String, RecordedTensor>,
    /// What tensors of the source are called now, where that is another name.
    renamed: BTreeMap<String, String>,
    removed: BTreeSet<String>,
    pruned: Vec<PrunedUnits>,
    nonfinite: AllowedNonFinite,
    smoothing: Option<RecordedSmoothing>,
}

/// Which tensors a run was allowed to keep although they are not finite.
#[derive(Debug)]
enum AllowedNonFinite {
    None,
    /// Reports of old versions do not say which.
    Any,
    These(BTreeSet<String>),
}

/// The part of a report that is read.
#[derive(Debug, Deserialize)]
struct RecordFile {
    #[serde(default)]
    inputs: BTreeMap<String, RecordedFile>,
    made_from: Option<MadeFrom>,
    outputs: BTreeMap<String, RecordedFile>,
    tensors: Vec<RecordedTensor>,
    /// Tensors of the source of which nothing is left.
    #[serde(default)]
    removed: Vec<RemovedTensor>,
    /// Places that lost units, or were refitted.
    #[serde(default)]
    pruned: Vec<PrunedUnits>,
    recipe: Option<RecordedRecipe>,
    nonfinite: Option<Vec<RecordedNonFinite>>,
    smoothing: Option<RecordedSmoothing>,
}

/// Channels and their scales, if some were smoothed.
#[derive(Debug, Deserialize)]
struct RecordedSmoothing {
    pairs: Vec<ScaledPair>,
}

/// Size and hash of a file.
#[derive(Debug, Deserialize)]
pub(crate) struct RecordedFile {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

#[derive(Debug, Deserialize)]
struct RecordedTensor {
    name: String,
    /// Its name in the source, where that is another.
    from: Option<String>,
    what: String,
    source: String,
    /// What it is in the artifact, where that is not what the source had.
    artifact: Option<String>,
    /// What it lost, if it was quantized.
    relative_error: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct RemovedTensor {
    name: String,
}

#[derive(Debug, Deserialize)]
struct RecordedNonFinite {
    tensor: String,
}

#[derive(Debug, Deserialize)]
struct RecordedRecipe {
    /// Reports were written with the other spelling before keys had one case.
    #[serde(default, alias = "allow-nonfinite")]
    allow_nonfinite: bool,
}

/// What was done to a tensor, in the words of the report.
enum Done<'a> {
    Kept,
    Dequantized,
    MergedInto,
    /// Some of its rows or columns are gone, as they were or refitted; or it is new.
    Pruned,
    Quantized(&'a str),
}

impl Record {
    /// Reads the report, if there is one.
    pub(crate) fn read(
        artifact: &Artifact,
        findings: &mut Findings,
    ) -> Result<Option<Self>, Error> {
        let Some(name) = report_file::name(&artifact.source) else { return Ok(None) };
        let path = artifact.source.path_of(&name);
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = match read_bytes(&path, MAX_REPORT_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.is_input() => {
                findings.fault("record", &name, error.to_string());
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        match serde_json::from_slice::<RecordFile>(&bytes) {
            Ok(file) => {
                findings.checked("reports", 1);
                Ok(Some(file.into()))
            }
            Err(error) => {
                findings.fault("record", &name, format!("it is no report of a run: {error}"));
                Ok(None)
            }
        }
    }

    /// Whether a tensor of the artifact is one of the source, kept dense.
    pub(crate) fn keeps(&self, tensor: &str) -> bool {
        let recorded = self.tensors.get(tensor);
        recorded.is_some_and(|recorded| {
            matches!(recorded.done(), Done::Kept | Done::Dequantized | Done::Pruned)
        })
    }

    /// Whether a tensor of the artifact is dense, but not as it was in the source.
    pub(crate) fn is_dequantized(&self, tensor: &str) -> bool {
        let recorded = self.tensors.get(tensor);
        recorded.is_some_and(|recorded| matches!(recorded.done(), Done::Dequantized))
    }

    /// The channels that were smoothed, and their scales.
    pub(crate) fn smoothed(&self) -> Option<&[ScaledPair]> {
        Some(&self.smoothing.as_ref()?.pairs)
    }

    /// Whether a tensor of the artifact is dense, and scaled.
    pub(crate) fn is_smoothed(&self, tensor: &str) -> bool {
        self.tensors.get(tensor).is_some_and(|recorded| recorded.what == "smoothed")
    }

    /// Whether a tensor of the artifact is what pruning left of one, or made.
    pub(crate) fn is_pruned(&self, tensor: &str) -> bool {
        let recorded = self.tensors.get(tensor);
        recorded.is_some_and(|recorded| matches!(recorded.done(), Done::Pruned))
    }

    /// What a tensor of the source is called in the artifact; none, if it is said to be gone.
    pub(crate) fn now_called<'n>(&'n self, tensor: &'n str) -> Option<&'n str> {
        match self.renamed.get(tensor) {
            Some(name) => Some(name),
            None => (!self.removed.contains(tensor)).then_some(tensor),
        }
    }

    /// The units that stay of an axis in a layer, or of one of its experts, where some go.
    pub(crate) fn units_of(
        &self,
        axis: Axis,
        layer: usize,
        expert: Option<usize>,
    ) -> Option<&[usize]> {
        let is_it = |units: &&PrunedUnits| {
            (units.axis.as_str(), units.layer, units.expert) == (axis.name(), layer, expert)
                && units.kept.len() < units.units
        };
        self.pruned.iter().find(is_it).map(|units| &*units.kept)
    }

    /// Whether a tensor of the source was cut without a change of what stays.
    pub(crate) fn is_sliced(&self, now: &str) -> bool {
        self.tensors.get(now).is_some_and(|recorded| recorded.what == "sliced")
    }

    /// Whether a matrix of the source is one that was fitted, or a bias, which may have been.
    pub(crate) fn may_be_refitted(&self, tensor: &str) -> bool {
        let moved = |units: &PrunedUnits| {
            units.moved.as_ref().is_some_and(|moved| moved.tensors.iter().any(|t| t == tensor))
        };
        tensor.ends_with(".bias")
            || self.pruned.iter().any(|units| units.reader == tensor || moved(units))
    }

    /// What a tensor is said to have lost.
    pub(crate) fn relative_error(&self, tensor: &str) -> Option<f64> {
        self.tensors.get(tensor)?.relative_error
    }

    /// Whether the run was allowed to keep NaN or infinity in a tensor.
    pub(crate) fn allows_nonfinite(&self, tensor: &str) -> bool {
        match &self.nonfinite {
            AllowedNonFinite::None => false,
            AllowedNonFinite::Any => true,
            AllowedNonFinite::These(tensors) => tensors.contains(tensor),
        }
    }

    /// Every tensor of the source is accounted for, and every tensor of the artifact comes from one.
    pub(crate) fn check_tensors(&self, artifact: &Artifact, findings: &mut Findings) {
        for recorded in self.tensors.values() {
            if let Some(message) = recorded.unaccounted(artifact) {
                findings.fault("conservation", &recorded.name, message);
            }
        }
        let names = artifact.source.tensors().map(|(name, _)| name);
        for name in names.filter(|name| !self.has_origin(name)) {
            let message = "the report does not say where it comes from";
            findings.fault("conservation", name, message);
        }
        findings.checked("tensors held against the report", self.tensors.len());
    }

    /// Whether a tensor of the artifact is recorded, or part of one that was quantized.
    fn has_origin(&self, tensor: &str) -> bool {
        let weight = || {
            let (module, _) = part_of(tensor)?;
            self.tensors.get(&format!("{module}.{WEIGHT}"))
        };
        self.tensors.contains_key(tensor)
            || weight().is_some_and(|recorded| matches!(recorded.done(), Done::Quantized(_)))
    }
}

impl From<RecordFile> for Record {
    fn from(file: RecordFile) -> Self {
        let moved = file.tensors.iter();
        let moved = moved.filter_map(|tensor| Some((tensor.from.clone()?, tensor.name.clone())));
        let renamed = moved.collect();
        let tensors = file.tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor));
        Self {
            renamed,
            removed: file.removed.into_iter().map(|tensor| tensor.name).collect(),
            pruned: file.pruned,
            inputs: file.inputs,
            made_from: file.made_from,
            outputs: file.outputs,
            smoothing: file.smoothing,
            tensors: tensors.collect(),
            nonfinite: match (file.recipe.is_some_and(|r| r.allow_nonfinite), file.nonfinite) {
                (false, _) => AllowedNonFinite::None,
                (true, None) => AllowedNonFinite::Any,
                (true, Some(found)) => {
                    AllowedNonFinite::These(found.into_iter().map(|found| found.tensor).collect())
                }
            },
        }
    }
}

impl RecordedTensor {
    fn done(&self) -> Done<'_> {
        match self.what.as_str() {
            // Scaled, but of the type and shape that it had.
            "kept" | "smoothed" => Done::Kept,
            what if what.ends_with("dequantized") => Done::Dequantized,
            what if what.starts_with("merged into ") => Done::MergedInto,
            "sliced" | "refitted" | "added" => Done::Pruned,
            what => Done::Quantized(what),
        }
    }

    /// What is wrong with what became of it.
    fn unaccounted(&self, artifact: &Artifact) -> Option<String> {
        let found = artifact.source.meta(&self.name);
        let Self { what, source, .. } = self;
        match (self.done(), found) {
            (Done::Quantized(scheme), _) => self.unaccounted_parts(scheme, artifact),
            (Done::MergedInto, None) => None,
            // A scale of the source may be called as one of the artifact is.
            (Done::MergedInto, Some(_)) if self.is_of_quantized(artifact) => None,
            (Done::MergedInto, Some(_)) => {
                Some(format!("the report says `{what}`, but it is there"))
            }
            (_, None) => Some(format!("the report says `{what}`, but it is not there")),
            (Done::Pruned, Some(found)) => {
                let said = self.artifact.as_deref().unwrap_or("nothing");
                (found.to_string() != said)
                    .then(|| format!("the report says that it became {said}, but it is {found}"))
            }
            (Done::Kept, Some(found)) => (found.to_string() != *source)
                .then(|| format!("it was kept as {source}, but is {found} now")),
            (Done::Dequantized, Some(found)) => (!found.dtype().is_plain_float()
                || !self.has_shape(found))
            .then(|| format!("it was {source} and dequantized, but is {found} now")),
        }
    }

    fn unaccounted_parts(&self, scheme: &str, artifact: &Artifact) -> Option<String> {
        let module = part_of(&self.name).map_or(self.name.as_str(), |(module, _)| module);
        if !artifact.is_quantized_module(module) {
            return Some(format!("the report says {scheme}, but it is not stored quantized"));
        }
        let group = artifact.scheme()?.scheme_of(module)?;
        (group.scheme.to_string() != scheme)
            .then(|| format!("the report says {scheme}, but the config says {}", group.scheme))
    }

    fn is_of_quantized(&self, artifact: &Artifact) -> bool {
        part_of(&self.name).is_some_and(|(module, _)| artifact.is_quantized_module(module))
    }

    /// Whether `found` has the shape that the source had: `BF16 [4096, 1024]` ends with it.
    fn has_shape(&self, found: &TensorMeta) -> bool {
        self.source.ends_with(&format!(" {:?}", found.shape()))
    }
}

/// Several times the report of a model of 100,000 tensors.
pub(crate) const MAX_REPORT_BYTES: u64 = 128 << 20;
