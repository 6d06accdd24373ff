//! How a source was made: the report beside it, if it is one of ours and that of these very files.
//!
//! What it tells goes into the report of what is made of the source, so that an artifact says how it came about
//! from the first model on.

use llmopt_checkpoint::{Source, read_bytes, sha256};
use llmopt_model::report_file;
use llmopt_run::{Error, Events};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How `source` was made, by the report beside it; `read` has the hash of each weight file. A report that is not of
/// these files tells nothing of them, and is noted.
///
/// # Errors
/// If the system cannot read it.
pub fn made_from(
    source: &Source,
    read: &[String],
    events: &dyn Events,
) -> Result<Option<Value>, Error> {
    let Some(path) = report_file::path(source) else { return Ok(None) };
    let found = match read_bytes(&path, report_file::LIMIT) {
        Ok(bytes) => told(&bytes, source, read),
        Err(error) if error.is_input() => Err(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    let found = found.map_err(|why| {
        let name = report_file::name(source).unwrap_or_default();
        events.note(&format!(
            "`{name}` beside the source is left out of the new report, which does not tell how the source \
             was made: {why}"
        ));
    });
    Ok(found.ok())
}

/// What a report tells of how its artifact was made: everything but lists of tensors, units and files.
///
/// # Errors
/// If it is no JSON object.
pub fn how_made(report: &impl Serialize) -> Result<Value, Error> {
    let refused = |error: serde_json::Error| Error::Refused(error.to_string());
    // Through text, as it is read from a file.
    let text = serde_json::to_string(report).map_err(refused)?;
    Ok(kept(serde_json::from_str(&text).map_err(refused)?))
}

/// What is compared: which files a report is of.
#[derive(Deserialize)]
struct Listed {
    tool: String,
    outputs: BTreeMap<String, ListedFile>,
}

#[derive(Deserialize)]
struct ListedFile {
    bytes: u64,
    sha256: String,
}

/// How the files of `source` were made, or why the report does not tell.
fn told(report: &[u8], source: &Source, read: &[String]) -> Result<Value, String> {
    let unreadable = |error: serde_json::Error| format!("it is no report of a run: {error}");
    let Listed { tool, outputs } = serde_json::from_slice(report).map_err(unreadable)?;
    if tool != "llmopt" {
        return Err(format!("it was written by `{tool}`"));
    }
    let shards = source.shards().iter().zip(read);
    let weights = shards.map(|(shard, sha256)| (shard.name.as_str(), shard.bytes, sha256.clone()));
    // Beside a file, a config belongs to something else unless the report lists it.
    let config = source.config_bytes().filter(|_| source.is_folder());
    let config = config.map(|bytes| ("config.json", bytes.len() as u64, sha256(bytes)));
    for (name, bytes, sha256) in weights.chain(config) {
        match outputs.get(name) {
            None => return Err(format!("it does not list `{name}`")),
            Some(listed) if listed.bytes != bytes => {
                return Err(format!("`{name}` has {bytes} bytes, but {} there", listed.bytes));
            }
            Some(listed) if !listed.sha256.eq_ignore_ascii_case(&sha256) => {
                return Err(format!("`{name}` has SHA-256 {sha256}, but {} there", listed.sha256));
            }
            Some(_) => {}
        }
    }
    serde_json::from_slice(report).map(kept).map_err(unreadable)
}

fn kept(mut report: Map<String, Value>) -> Value {
    report.retain(|name, _| KEPT.contains(&name.as_str()));
    Value::Object(report)
}

/// What lets anyone repeat a run, and what came of it as a whole.
const KEPT: &[&str] = &[
    "tool",
    "version",
    "family",
    "inputs",
    "made_from",
    "bytes_before",
    "bytes_after",
    "recipe",
    "compressed_tensors",
    "parameters",
    "bits_per_weight",
    "calibration",
    "decision",
    "block_parameters",
    "block_parameters_left",
    "sparsity",
    "align",
    "axes",
];
