//! Whether a model is the one of an earlier run, by its files.

use llmopt_checkpoint::{Source, sha256};
use llmopt_run::Error;
use serde_json::{Map, Value, json};

/// What tells a model from any other, and from itself once it is changed, without reading its weights.
///
/// # Errors
/// If a file's time of change cannot be read.
pub fn model_state(source: &Source) -> Result<Value, Error> {
    let mut files = Map::new();
    for shard in source.shards() {
        let state = json!({ "bytes": shard.bytes, "modified": shard.modified()?.to_string() });
        files.insert(shard.name.clone(), state);
    }
    let config = source.config_bytes().map(sha256);
    files.insert("config.json".to_owned(), json!(config));
    let side = source.side_files().iter().map(|file| file.name.clone());
    files.insert("beside".to_owned(), json!(side.collect::<Vec<_>>()));
    Ok(Value::Object(files))
}
