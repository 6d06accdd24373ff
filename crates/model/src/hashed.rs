//! One pass over all bytes of a model: hashed, and looked at for what is not finite.

use crate::in_order::InOrder;
use crate::nonfinite::matters;
use crate::slice::refuse_not_finite;
use llmopt_arch::Model;
use llmopt_checkpoint::{HeaderEntry, Shard, Source};
use llmopt_run::{Cancel, Error, Events, pool};
use std::ops::Range;

/// Some bytes of a tensor.
struct Piece<'a> {
    /// The number of the file.
    number: usize,
    shard: &'a Shard,
    entry: &'a HeaderEntry,
    /// Which bytes of the tensor.
    range: Range<u64>,
    /// Its turn among the pieces of the file.
    turn: u64,
}

/// Hashes every file of weights, in their order, and refuses a model of which a tensor is not finite,
/// before hours of work end there.
///
/// # Errors
/// [`Error::NotFinite`] for the first such tensor in the order of the files.
pub fn hash_finite(
    source: &Source,
    model: &Model,
    threads: usize,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<Vec<String>, Error> {
    let shards = source.shards();
    events.stage_started("look", shards.iter().map(|shard| shard.bytes).sum());
    let hashes = shards.iter().map(InOrder::after_header).collect::<Result<Vec<_>, Error>>()?;
    let pieces = shards.iter().enumerate().flat_map(pieces);
    pool::for_each_with(threads, pieces, cancel, |bytes: &mut Vec<u8>, piece, stop| {
        let Piece { number, shard, entry, range, turn } = piece;
        bytes.resize((range.end - range.start) as usize, 0);
        shard.read_tensor(entry, range.clone(), bytes)?;
        if matters(model, &entry.name) {
            refuse_not_finite((shard, entry), range.start, bytes)?;
        }
        hashes[number].update(turn, bytes, stop);
        if range.end == entry.meta.bytes() {
            events.advanced(range.end, &entry.name);
        }
        Ok(())
    })?;
    events.stage_finished("look");
    Ok(hashes.into_iter().map(InOrder::finish).collect())
}

/// The bytes behind the header of a file, which its tensors cover without a gap.
fn pieces<'a>((number, shard): (usize, &'a Shard)) -> impl Iterator<Item = Piece<'a>> + Send {
    let ranges = shard.header.tensors().iter().flat_map(|entry| {
        let bytes = entry.meta.bytes();
        let begins = (0..bytes).step_by(PIECE_BYTES as usize);
        begins.map(move |begin| (entry, begin..(begin + PIECE_BYTES).min(bytes)))
    });
    ranges.enumerate().map(move |(turn, (entry, range))| Piece {
        number,
        shard,
        entry,
        range,
        turn: turn as u64,
    })
}

/// A multiple of every element's size.
const PIECE_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variant;
    use llmopt_run::Silent;
    use std::path::Path;

    fn hashed(path: &Path, threads: usize) -> Result<Vec<String>, Error> {
        let variant = Variant::open(path).expect("a model");
        hash_finite(variant.source(), variant.model(), threads, (&Silent, &Cancel::new()))
    }

    #[test]
    fn the_hashes_are_those_of_the_files_on_any_number_of_threads() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-llama");
        let variant = Variant::open(&path).expect("a model");
        let shards = variant.source().shards().iter();
        let alone: Vec<String> = shards.map(|shard| shard.sha256().expect("a hash")).collect();
        for threads in [1, 3] {
            assert_eq!(hashed(&path, threads).expect("finite"), alone);
        }
    }
}
