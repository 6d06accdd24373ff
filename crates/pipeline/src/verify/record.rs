//! The report beside the weights, against the files and tensors that are there.
//!
//! It came with the artifact and is believed as little as anything else in it.

use super::Request;
use super::artifact::{Artifact, part_of};
use super::findings::Findings;
use crate::{Error, pool};
use llmopt_checkpoint::{read_bytes, sha256_file};
use llmopt_tensor::TensorMeta;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// What matters here of a report.
#[derive(Debug)]
pub(super) struct Record {
    outputs: BTreeMap<String, RecordedFile>,
    tensors: BTreeMap<String, RecordedTensor>,
    allows_nonfinite: bool,
}

/// The part of a report that is read.
#[derive(Debug, Deserialize)]
struct RecordFile {
    outputs: BTreeMap<String, RecordedFile>,
    tensors: Vec<RecordedTensor>,
    recipe: Option<RecordedRecipe>,
}

#[derive(Debug, Deserialize)]
struct RecordedFile {
    bytes: u64,
    sha256: String,
}

#[derive(Debug, Deserialize)]
struct RecordedTensor {
    name: String,
    what: String,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RecordedRecipe {
    #[serde(default)]
    allow_nonfinite: bool,
}

/// What was done to a tensor, in the words of the report.
enum Done<'a> {
    Kept,
    Dequantized,
    MergedInto,
    Quantized(&'a str),
}

impl Record {
    /// Reads the report, if there is one.
    pub(super) fn read(
        artifact: &Artifact,
        findings: &mut Findings,
    ) -> Result<Option<Self>, Error> {
        let Some(name) = name(artifact) else { return Ok(None) };
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
    pub(super) fn keeps(&self, tensor: &str) -> bool {
        let recorded = self.tensors.get(tensor);
        recorded.is_some_and(|recorded| matches!(recorded.done(), Done::Kept | Done::Dequantized))
    }

    /// Whether a tensor of the artifact is dense, but not as it was in the source.
    pub(super) fn is_dequantized(&self, tensor: &str) -> bool {
        let recorded = self.tensors.get(tensor);
        recorded.is_some_and(|recorded| matches!(recorded.done(), Done::Dequantized))
    }

    /// Whether the run was allowed to keep NaN and infinity.
    pub(super) fn allows_nonfinite(&self) -> bool {
        self.allows_nonfinite
    }

    /// Checks names and sizes of the files, and unless the request is quick, their hashes.
    pub(super) fn check_files(
        &self,
        artifact: &Artifact,
        request: &Request<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let files = files(artifact)?;
        for (name, recorded) in &self.outputs {
            match files.get(name.as_str()) {
                None => {
                    findings.fault("record", name, "the report lists it, but it is not there");
                }
                Some((_, bytes)) if *bytes != recorded.bytes => {
                    let message =
                        format!("it has {bytes} bytes, but the report says {}", recorded.bytes);
                    findings.fault("size", name, message);
                }
                Some(_) => {}
            }
        }
        for shard in artifact.source.shards() {
            if !self.outputs.contains_key(&shard.name) {
                let message = "it holds weights, but the report does not list it";
                findings.fault("record", &shard.name, message);
            }
        }
        findings.checked("files held against the report", self.outputs.len());
        if !request.quick {
            self.check_hashes(&files, request, findings)?;
        }
        Ok(())
    }

    fn check_hashes(
        &self,
        files: &BTreeMap<String, (PathBuf, u64)>,
        request: &Request<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let listed = self.outputs.iter().filter_map(|(name, recorded)| {
            let (path, bytes) = files.get(name)?;
            (*bytes == recorded.bytes).then_some((name, path, recorded))
        });
        let listed: Vec<_> = listed.collect();
        let bytes = listed.iter().map(|(_, _, recorded)| recorded.bytes).sum();
        request.events.stage_started("hash", bytes);
        let differing = Mutex::new(BTreeMap::new());
        pool::for_each(request.threads, listed.iter(), request.cancel, |(name, path, file), _| {
            let found = sha256_file(path)?;
            if !found.eq_ignore_ascii_case(&file.sha256) {
                differing.lock().unwrap_or_else(PoisonError::into_inner).insert(*name, found);
            }
            request.events.advanced(file.bytes, name);
            Ok(())
        })?;
        request.events.stage_finished("hash");
        for (name, found) in differing.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let message = format!(
                "its SHA-256 is {found}, but the report says {}: it is not the file that was \
                 written",
                self.outputs[name].sha256
            );
            findings.fault("hash", name, message);
        }
        findings.checked("files hashed", listed.len());
        Ok(())
    }

    /// Every tensor of the source is accounted for, and every tensor of the artifact comes from one.
    pub(super) fn check_tensors(&self, artifact: &Artifact, findings: &mut Findings) {
        let mut claimed: BTreeSet<String> = BTreeSet::new();
        for recorded in self.tensors.values() {
            if let Some(message) = recorded.unaccounted(artifact, &mut claimed) {
                findings.fault("conservation", &recorded.name, message);
            }
        }
        for name in artifact.source.tensors().keys().filter(|name| !claimed.contains(*name)) {
            let message = "the report does not say where it comes from";
            findings.fault("conservation", name, message);
        }
        findings.checked("tensors held against the report", self.tensors.len());
    }
}

impl From<RecordFile> for Record {
    fn from(file: RecordFile) -> Self {
        let tensors = file.tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor));
        Self {
            outputs: file.outputs,
            tensors: tensors.collect(),
            allows_nonfinite: file.recipe.is_some_and(|recipe| recipe.allow_nonfinite),
        }
    }
}

impl RecordedTensor {
    fn done(&self) -> Done<'_> {
        match self.what.as_str() {
            "kept" => Done::Kept,
            what if what.ends_with("dequantized") => Done::Dequantized,
            what if what.starts_with("merged into ") => Done::MergedInto,
            what => Done::Quantized(what),
        }
    }

    /// What is wrong with what became of it. The tensors that hold it now are added to `claimed`.
    fn unaccounted(&self, artifact: &Artifact, claimed: &mut BTreeSet<String>) -> Option<String> {
        let found = artifact.source.meta(&self.name);
        let missing = || format!("the report says `{}`, but it is not there", self.what);
        match self.done() {
            Done::MergedInto => {
                found.map(|_| format!("the report says `{}`, but it is there", self.what))
            }
            Done::Kept => {
                claimed.insert(self.name.clone());
                let Some(found) = found else { return Some(missing()) };
                (found.to_string() != self.source)
                    .then(|| format!("it was kept as {}, but is {found} now", self.source))
            }
            Done::Dequantized => {
                claimed.insert(self.name.clone());
                let Some(found) = found else { return Some(missing()) };
                (!found.dtype().is_plain_float() || !self.has_shape(found))
                    .then(|| format!("it was {} and dequantized, but is {found} now", self.source))
            }
            Done::Quantized(scheme) => self.unaccounted_parts(scheme, artifact, claimed),
        }
    }

    fn unaccounted_parts(
        &self,
        scheme: &str,
        artifact: &Artifact,
        claimed: &mut BTreeSet<String>,
    ) -> Option<String> {
        let module = part_of(&self.name).map_or(self.name.as_str(), |(module, _)| module);
        let stored = artifact.modules.get(module).filter(|stored| stored.is_quantized());
        let Some(stored) = stored else {
            claimed.insert(self.name.clone());
            return Some(format!("the report says {scheme}, but it is not stored quantized"));
        };
        claimed.extend(stored.suffixes().map(|suffix| format!("{module}.{suffix}")));
        let group = artifact.scheme()?.scheme_of(module)?;
        (group.scheme.to_string() != scheme)
            .then(|| format!("the report says {scheme}, but the config says {}", group.scheme))
    }

    /// Whether `found` has the shape that the source had: `BF16 [4096, 1024]` ends with it.
    fn has_shape(&self, found: &TensorMeta) -> bool {
        self.source.ends_with(&format!(" {:?}", found.shape()))
    }
}

/// The report's name: `llmopt.json` in a folder, `NAME.llmopt.json` beside a file.
pub(super) fn name(artifact: &Artifact) -> Option<String> {
    match (artifact.source.is_folder(), artifact.source.shards()) {
        (true, _) => Some("llmopt.json".to_owned()),
        (false, [shard]) => {
            Some(format!("{}.llmopt.json", shard.name.strip_suffix(".safetensors")?))
        }
        _ => None,
    }
}

/// The files of the artifact that a report can list, with path and size. What it lists beside them is
/// never opened.
fn files(artifact: &Artifact) -> Result<BTreeMap<String, (PathBuf, u64)>, Error> {
    let source = &artifact.source;
    let mut files: BTreeMap<String, (PathBuf, u64)> = BTreeMap::new();
    for shard in source.shards() {
        files.insert(shard.name.clone(), (shard.path().to_owned(), shard.bytes));
    }
    if source.is_folder() {
        for side in source.side_files() {
            files.insert(side.name.clone(), (source.path_of(&side.name), side.bytes));
        }
        if let Some(bytes) = source.config_bytes() {
            files.insert(CONFIG.to_owned(), (source.path_of(CONFIG), bytes.len() as u64));
        }
        if source.index().is_some() {
            let path = source.path_of(INDEX);
            let bytes = read_bytes(&path, MAX_REPORT_BYTES)?.len() as u64;
            files.insert(INDEX.to_owned(), (path, bytes));
        }
    }
    Ok(files)
}

const CONFIG: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";

/// Several times the report of a model of 100,000 tensors.
const MAX_REPORT_BYTES: u64 = 128 << 20;
