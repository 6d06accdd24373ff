//! What every report tells of an artifact: what wrote it, and the files that were read and written.

use crate::artifact::ArtifactPlan;
use crate::records::Records;
use llmopt_checkpoint::{SideFile, Source, sha256};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Size and hash of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileFacts {
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// The beginning of every report. It holds no clock, no host name and no absolute path.
#[derive(Clone, Debug, Serialize)]
pub struct Envelope {
    /// `llmopt`.
    pub tool: &'static str,
    /// The version that ran.
    pub version: &'static str,
    /// The model's family; `None` when names and shapes decided.
    pub family: Option<String>,
    /// Every file that was read, by name.
    pub inputs: BTreeMap<String, FileFacts>,
    /// How the source was made, where the report beside it is that of these very files: that report without
    /// its lists of tensors and files, and with what it was made from in turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_from: Option<Value>,
    /// Every file that was written, except this one.
    pub outputs: BTreeMap<String, FileFacts>,
    /// The size of the source: bytes of its weight files.
    pub bytes_before: u64,
    /// The size of the artifact: bytes of its weight files, headers included.
    pub bytes_after: u64,
}

/// An artifact of which only the report is missing.
pub struct Finished {
    /// What is known of its bands and groups.
    pub records: Records,
    /// The hashes of what was read and written.
    pub hashes: FileHashes,
}

/// Hashes of files, in the order of the plan.
#[derive(Clone, Debug)]
pub struct FileHashes {
    /// The hash of each weight file that was read.
    pub read: Vec<String>,
    /// The hash of each weight file that was written.
    pub written: Vec<String>,
    /// Those of the files beside the weights, by name.
    pub beside: BTreeMap<String, String>,
}

impl Envelope {
    /// Of an artifact of a model of this `family`, beside which `side_files` are copied and whose files have
    /// these `sizes`. Nothing is said of how the model was made.
    pub fn new(
        plan: &ArtifactPlan,
        family: Option<String>,
        side_files: &[SideFile],
        sizes: BTreeMap<impl AsRef<str>, u64>,
        hashes: &FileHashes,
    ) -> Self {
        let FileHashes { read, written, beside } = hashes;
        Self {
            tool: "llmopt",
            version: env!("CARGO_PKG_VERSION"),
            family,
            inputs: inputs(&plan.source, side_files, read, beside),
            made_from: None,
            outputs: outputs(plan.files(), sizes, written, beside.clone()),
            bytes_before: plan.source.shards().iter().map(|shard| shard.bytes).sum(),
            bytes_after: plan.bytes(),
        }
    }
}

/// Every file that was read, by name: weight files with the hashes `read` of them, the config, and side files.
/// These are copied, so that their hashes are those of the copies `beside` the weights.
fn inputs(
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
fn outputs<'a>(
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
