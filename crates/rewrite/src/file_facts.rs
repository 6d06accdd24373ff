//! The files that a run read and wrote, as its report lists them.

use llmopt_checkpoint::{SideFile, Source, sha256};
use serde::Serialize;
use std::collections::BTreeMap;

/// Size and hash of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileFacts {
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// Every file that was read, by name: weight files with the hashes `read` of them, the config, and side files.
/// These are copied, so that their hashes are those of the copies `beside` the weights.
pub fn inputs(
    source: &Source,
    side_files: &[SideFile],
    read: &[String],
    beside: &BTreeMap<String, String>,
) -> BTreeMap<String, FileFacts> {
    let shards = source.shards().iter().zip(read).map(|(shard, sha256)| {
        (shard.name.clone(), FileFacts { bytes: shard.bytes, sha256: sha256.clone() })
    });
    let config = source.config_bytes().map(|bytes| {
        let facts = FileFacts { bytes: bytes.len() as u64, sha256: sha256(bytes) };
        ("config.json".to_owned(), facts)
    });
    let side = side_files.iter().filter_map(|side| {
        let facts = FileFacts { bytes: side.bytes, sha256: beside.get(&side.name)?.clone() };
        Some((side.name.clone(), facts))
    });
    shards.chain(config).chain(side).collect()
}

/// Every file that was written but the report, by name: `weights` with the hashes `written` of them, and those
/// `beside` them. `sizes` has the bytes of all.
pub fn outputs<'a>(
    weights: impl Iterator<Item = &'a str>,
    sizes: BTreeMap<impl AsRef<str>, u64>,
    written: &[String],
    beside: BTreeMap<String, String>,
) -> BTreeMap<String, FileFacts> {
    let sizes: BTreeMap<&str, u64> =
        sizes.iter().map(|(name, bytes)| (name.as_ref(), *bytes)).collect();
    let weights = weights.map(str::to_owned).zip(written.iter().cloned());
    let facts = |(name, sha256): (String, String)| {
        let bytes = sizes.get(name.as_str()).copied().unwrap_or_default();
        (name, FileFacts { bytes, sha256 })
    };
    weights.chain(beside).map(facts).collect()
}
