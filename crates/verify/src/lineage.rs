//! A model that the artifact was made from, though not directly: its source's source, or that one's.
//!
//! Weights cannot be held against it, for what came between is not there. What the report tells of its files can.

use crate::examine::Request;
use crate::record::{Record, RecordedFile};
use llmopt_checkpoint::{Source, sha256, sha256_file};
use llmopt_model::Findings;
use llmopt_run::{Error, pool};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// How a source was made, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct MadeFrom {
    #[serde(default)]
    inputs: BTreeMap<String, RecordedFile>,
    made_from: Option<Box<MadeFrom>>,
}

/// Whether the model at `path` is one that the artifact's source was made from. If so, its files are held against
/// what the report tells of them.
pub(crate) fn is_behind_the_source(
    record: &Record,
    path: &Path,
    request: &Request<'_>,
    findings: &mut Findings,
) -> Result<bool, Error> {
    let Some(made_from) = &record.made_from else { return Ok(false) };
    let model = Model::open(path)?;
    let ancestors = std::iter::successors(Some(made_from), |made| made.made_from.as_deref());
    let ancestors: Vec<&MadeFrom> =
        ancestors.filter(|made| model.has_sizes_of(&made.inputs)).collect();
    let Some(nearest) = ancestors.first() else { return Ok(false) };
    let is_direct = model.has_sizes_of(&record.inputs);
    if request.quick && is_direct {
        return Ok(false);
    }
    let hashes = if request.quick { BTreeMap::new() } else { model.hashes(request)? };
    if is_direct && differing(&record.inputs, &hashes).is_empty() {
        return Ok(false);
    }
    let found = ancestors.iter().find(|made| differing(&made.inputs, &hashes).is_empty());
    for (name, found, told) in differing(&found.unwrap_or(nearest).inputs, &hashes) {
        let message = format!(
            "its SHA-256 is {found}, but the report says that the source of the artifact was made from a file with \
             {told}"
        );
        findings.fault("against", name, message);
    }
    request.events.note(&format!(
        "`{}` is what the source of this artifact was made from: its files are held against the report, and weights \
         against nothing, since what came between is not there; `--rebuild` makes it once more",
        path.display()
    ));
    findings.checked("files held against the report's beginning", model.files.len());
    Ok(true)
}

/// Files whose hash is not the one that is told, each with both.
fn differing<'a>(
    told: &'a BTreeMap<String, RecordedFile>,
    found: &'a BTreeMap<String, String>,
) -> Vec<(&'a str, &'a str, &'a str)> {
    let pairs = found.iter().filter_map(|(name, found)| {
        let told = told.get(name)?;
        Some((name.as_str(), found.as_str(), told.sha256.as_str()))
    });
    pairs.filter(|(_, found, told)| !found.eq_ignore_ascii_case(told)).collect()
}

/// The files of a model that decide what is made of it.
struct Model {
    source: Source,
    /// Their sizes by name: weights, and the config of a folder.
    files: BTreeMap<String, u64>,
}

impl Model {
    fn open(path: &Path) -> Result<Self, Error> {
        let source = Source::open(path)?;
        let shards = source.shards().iter().map(|shard| (shard.name.clone(), shard.bytes));
        let config = source.config_bytes().filter(|_| source.is_folder());
        let config = config.map(|bytes| (CONFIG.to_owned(), bytes.len() as u64));
        let files = shards.chain(config).collect();
        Ok(Self { source, files })
    }

    /// Whether all of them are listed, with these sizes.
    fn has_sizes_of(&self, inputs: &BTreeMap<String, RecordedFile>) -> bool {
        let is_listed = |(name, bytes): (&String, &u64)| {
            inputs.get(name).is_some_and(|file| file.bytes == *bytes)
        };
        self.files.iter().all(is_listed)
    }

    fn hashes(&self, request: &Request<'_>) -> Result<BTreeMap<String, String>, Error> {
        let shards = self.source.shards();
        request.events.stage_started("hash", shards.iter().map(|shard| shard.bytes).sum());
        let hashes: Mutex<BTreeMap<String, String>> = Mutex::default();
        pool::for_each(request.threads, shards.iter(), request.cancel, |shard, _| {
            let found = sha256_file(shard.path())?;
            hashes.lock().unwrap_or_else(PoisonError::into_inner).insert(shard.name.clone(), found);
            request.events.advanced(shard.bytes, &shard.name);
            Ok(())
        })?;
        request.events.stage_finished("hash");
        let mut hashes = hashes.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = self.source.config_bytes().filter(|_| self.source.is_folder()) {
            hashes.insert(CONFIG.to_owned(), sha256(bytes));
        }
        Ok(hashes)
    }
}

const CONFIG: &str = "config.json";
