//! How the output's names and offsets are written down: headers and index.
//!
//! Both are made when they are needed and not kept: in a model of many experts they are larger than
//! everything else that a plan holds.

use crate::place::Place;
use crate::planned_shard::PlannedShard;
use llmopt_checkpoint::{Header, HeaderEntry, Shard, Source};
use llmopt_run::Error;
use llmopt_tensor::TensorMeta;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// The name of the index.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// Tells each part where it begins, in the reference writer's order. Returns the size of the
/// whole file.
pub(crate) fn lay_out(
    metadata: &BTreeMap<String, String>,
    entries: &[HeaderEntry],
    places: &mut [Place],
) -> Result<u64, Error> {
    let names = names(entries, places);
    let (header, begins) = Header::encode(metadata, &names).map_err(unwritable)?;
    let data = header.len() as u64;
    let size = names.iter().map(|(_, meta)| meta.bytes()).sum::<u64>();
    let begins: BTreeMap<&str, u64> =
        names.iter().zip(&begins).map(|((name, _), &begin)| (name.as_str(), begin)).collect();
    for (entry, place) in entries.iter().zip(places.iter_mut()) {
        let parts = place.parts(entry).unwrap_or_default();
        let begin = |part| data + begins[place.part_name(entry, part).as_str()];
        place.begins = parts.iter().map(begin).collect();
    }
    Ok(data + size)
}

impl PlannedShard {
    /// Its header, as the counterpart of `source`: its length and its JSON.
    pub(crate) fn header(&self, source: &Shard) -> Result<Vec<u8>, Error> {
        let names = names(source.header.tensors(), &self.places);
        Ok(Header::encode(&self.metadata, &names).map_err(unwritable)?.0)
    }
}

/// Writes the index of the output's tensors, in the order of the source's files.
pub(crate) fn write_index(
    source: &Source,
    shards: &[PlannedShard],
    out: &mut dyn Write,
) -> io::Result<()> {
    let places = || {
        let shards = source.shards().iter().zip(shards);
        shards.flat_map(|(source, planned)| source.header.tensors().iter().zip(&planned.places))
    };
    let total_size: u64 = places().map(|(entry, place)| place.bytes_after(entry)).sum();
    write!(out, "{{\n  \"metadata\": {{\n    \"total_size\": {total_size}\n  }},\n")?;
    write!(out, "  \"weight_map\": {{")?;
    let mut separator = "\n";
    for (source, planned) in source.shards().iter().zip(shards) {
        let file = serde_json::to_string(&planned.name)?;
        for (entry, place) in source.header.tensors().iter().zip(&planned.places) {
            for placed in place.placed(entry) {
                let name = serde_json::to_string(&placed.name)?;
                write!(out, "{separator}    {name}: {file}")?;
                separator = ",\n";
            }
        }
    }
    write!(out, "\n  }}\n}}\n")
}

/// The size of the index.
pub(crate) fn index_bytes(source: &Source, shards: &[PlannedShard]) -> u64 {
    let mut counter = Counter(0);
    // Counting cannot fail.
    let _ = write_index(source, shards, &mut counter);
    counter.0
}

struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The output tensors of a file, in the reference writer's order.
fn names(entries: &[HeaderEntry], places: &[Place]) -> Vec<(String, TensorMeta)> {
    let mut names: Vec<(String, TensorMeta)> = Vec::new();
    for (entry, place) in entries.iter().zip(places) {
        let parts = place.parts(entry).unwrap_or_default().into_iter();
        names.extend(parts.map(|part| (place.part_name(entry, &part), part.meta)));
    }
    Header::reference_order(&mut names);
    names
}

fn unwritable(error: llmopt_checkpoint::HeaderError) -> Error {
    Error::Input { what: format!("the output's header cannot be written: {error}"), hint: None }
}
