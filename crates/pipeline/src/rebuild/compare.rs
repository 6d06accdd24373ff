//! The files of an artifact against those that its record makes.

use crate::rebuild::steps::{Record, RecordedFile};
use llmopt_checkpoint::{Source, are_equal, sha256_file};
use llmopt_rewrite::{FileFacts, INDEX};
use llmopt_run::{Cancel, Error, Events};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A file that was made once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RebuiltFile {
    /// Its name.
    pub name: String,
    /// Whether every byte is as it is in the artifact.
    pub same: bool,
    /// What is the matter, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The tensors that differ, or that only one of the two holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tensors: Vec<String>,
}

/// What there is to say of all files.
pub(super) struct Compared {
    pub(super) files: Vec<RebuiltFile>,
    /// Files that the record lists and no command makes.
    pub(super) not_rebuilt: Vec<String>,
}

/// Compares every file that was made, or that the record lists. `outputs` is what the last report tells.
pub(super) fn compare(
    record: &Record,
    (artifact, rebuilt): (&Source, &Source),
    outputs: &BTreeMap<String, FileFacts>,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<Compared, Error> {
    let names: BTreeSet<&String> = record.outputs.keys().chain(outputs.keys()).collect();
    let (not_rebuilt, names): (Vec<&String>, Vec<&String>) =
        names.into_iter().partition(|name| is_added(record, outputs, name));
    events.stage_started("compare", outputs.values().map(|file| file.bytes).sum());
    let mut files = Vec::new();
    for name in names {
        if cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        files.push(compared(name, (artifact, rebuilt), outputs.get(name))?);
        events.advanced(outputs.get(name).map_or(0, |file| file.bytes), name);
    }
    events.stage_finished("compare");
    Ok(Compared { files, not_rebuilt: not_rebuilt.into_iter().cloned().collect() })
}

/// Whether a file came to the artifact after its commands: it is none of theirs, or a copy of the source's that was
/// replaced later.
fn is_added(record: &Record, outputs: &BTreeMap<String, FileFacts>, name: &str) -> bool {
    if !outputs.contains_key(name) {
        return !is_made(name);
    }
    let read = record.steps.last().and_then(|step| step.inputs.get(name));
    let differs = |(told, read): (&RecordedFile, &RecordedFile)| told.sha256 != read.sha256;
    !is_made(name) && record.outputs.get(name).zip(read).is_some_and(differs)
}

/// Whether commands make a file of this name; others they copy.
fn is_made(name: &str) -> bool {
    name.ends_with(".safetensors") || name == INDEX || name == "config.json"
}

fn compared(
    name: &str,
    (artifact, rebuilt): (&Source, &Source),
    made: Option<&FileFacts>,
) -> Result<RebuiltFile, Error> {
    let path = artifact.path_of(name);
    let (why, tensors) = match made {
        None => (Some("the record lists it, but it was not made".to_owned()), Vec::new()),
        Some(_) if !path.is_file() => (Some("it is not in the artifact".to_owned()), Vec::new()),
        Some(made) => match sha256_file(&path)? {
            found if found == made.sha256 => (None, Vec::new()),
            found => {
                let why = format!("its SHA-256 is {found}, but {} was made", made.sha256);
                (Some(why), differing(name, artifact, rebuilt)?)
            }
        },
    };
    Ok(RebuiltFile { name: name.to_owned(), same: why.is_none(), why, tensors })
}

/// The tensors of a weight file that differ, sorted by name.
fn differing(name: &str, artifact: &Source, rebuilt: &Source) -> Result<Vec<String>, Error> {
    let of = |source: &'_ Source| -> BTreeSet<String> {
        let shards = source.shards().iter().filter(|shard| shard.name == name);
        shards.flat_map(|shard| shard.header.tensors()).map(|entry| entry.name.clone()).collect()
    };
    let names: BTreeSet<String> = of(artifact).union(&of(rebuilt)).cloned().collect();
    let mut differing = Vec::new();
    for tensor in names {
        let equal = match (artifact.entry(&tensor), rebuilt.entry(&tensor)) {
            (Some(found), Some(made)) => found.1.meta == made.1.meta && are_equal(found, made)?,
            _ => false,
        };
        if !equal {
            differing.push(tensor);
        }
    }
    Ok(differing)
}
