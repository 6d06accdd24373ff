//! Which model statistics are of.

use llmopt_checkpoint::{HeaderEntry, Sha256, Shard};
use llmopt_model::Variant;
use llmopt_run::Error;
use serde::{Deserialize, Serialize};

/// A model, as far as it must be the same for statistics to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// The name of its folder or file. It may have others.
    pub name: String,
    /// The hash of its config and, for each tensor in the order of the names, of name, type, shape, and
    /// the first, middle and last 4096 bytes of its data. How tensors are spread over files does
    /// not show.
    pub sha256: String,
}

impl ModelIdentity {
    /// Reads a little of every tensor: a model that was trained further differs there, too.
    pub(super) fn of(model: &Variant) -> Result<Self, Error> {
        let mut hash = Sha256::new();
        let source = model.source();
        add(&mut hash, source.config_bytes().unwrap_or_default());
        for (name, location) in source.tensors() {
            let shard = &source.shards()[location.shard];
            let entry = &shard.header.tensors()[location.entry];
            add(&mut hash, name.as_bytes());
            add(&mut hash, entry.meta.to_string().as_bytes());
            for sample in samples(shard, entry)? {
                add(&mut hash, &sample);
            }
        }
        Ok(Self { name: model.name(), sha256: hash.finish() })
    }

    /// The name, and enough of the hash to tell models apart.
    pub(super) fn shown(&self) -> String {
        format!("`{}` ({})", self.name, self.sha256.get(..SHOWN).unwrap_or(&self.sha256))
    }
}

/// Bytes with their number, so that no two lists of pieces look alike.
fn add(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(&(bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

fn samples(shard: &Shard, entry: &HeaderEntry) -> Result<Vec<Vec<u8>>, Error> {
    let all = entry.meta.bytes();
    let length = all.min(SAMPLE_BYTES);
    let sample = |begin: u64| {
        let mut bytes = vec![0; length as usize];
        shard.read_tensor(entry, begin..begin + length, &mut bytes)?;
        Ok(bytes)
    };
    let last = all - length;
    [0, last / 2, last].into_iter().map(sample).collect()
}

const SAMPLE_BYTES: u64 = 4096;
/// Digits of a hash that people are shown.
const SHOWN: usize = 16;
