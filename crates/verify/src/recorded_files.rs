//! The files that a report lists, against those that are there.

use crate::examine::Request;
use crate::record::{MAX_REPORT_BYTES, Record};
use llmopt_checkpoint::{EVALUATION_NAME, read_bytes, sha256_file};
use llmopt_model::{Artifact, Findings};
use llmopt_run::{Error, pool};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

impl Record {
    /// Checks names and sizes of the files, and unless the request is quick, their hashes.
    pub(crate) fn check_files(
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
        // It is no side file: it does not come along to what is made of the artifact.
        let path = source.path_of(EVALUATION_NAME);
        if let Some(bytes) = regular_bytes(&path) {
            files.insert(EVALUATION_NAME.to_owned(), (path, bytes));
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

/// The size of a file, if there is one.
fn regular_bytes(path: &Path) -> Option<u64> {
    path.metadata().ok().filter(|facts| facts.is_file()).map(|facts| facts.len())
}

const CONFIG: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";
