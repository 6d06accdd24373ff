//! Rows and columns of a tensor that stay, read from its file.

use crate::nonfinite::first_in;
use llmopt_arch::axes::Slice;
use llmopt_checkpoint::{HeaderEntry, Shard, Source};
use llmopt_run::Error;
use llmopt_tensor::TensorMeta;

/// What of a tensor's bytes stays.
///
/// # Errors
/// If the tensor cannot be read, or holds NaN or infinity.
pub fn sliced(source: &Source, name: &str, slice: &Slice) -> Result<Vec<u8>, Error> {
    let (shard, entry) = source.entry(name).expect("a tensor of the model");
    let mut bytes = vec![0; entry.meta.bytes() as usize];
    shard.read_tensor(entry, 0..entry.meta.bytes(), &mut bytes)?;
    refuse_not_finite((shard, entry), 0, &bytes)?;
    let row_bytes = row_bytes(&entry.meta);
    let element = entry.meta.dtype().bits() / 8;
    let mut kept = Vec::new();
    for row in slice.rows().iter().cloned().flatten() {
        let row = &bytes[row * row_bytes..][..row_bytes];
        match slice.columns() {
            [] => kept.extend_from_slice(row),
            columns => columns.iter().for_each(|range| {
                kept.extend_from_slice(&row[range.start * element..range.end * element]);
            }),
        }
    }
    Ok(kept)
}

/// Looks at a piece of a tensor of the source that begins at byte `begin`.
///
/// # Errors
/// [`Error::NotFinite`] for the first element that is NaN or infinite.
pub fn refuse_not_finite(
    (shard, entry): (&Shard, &HeaderEntry),
    begin: u64,
    bytes: &[u8],
) -> Result<(), Error> {
    let Some(found) = first_in(entry, begin, bytes) else { return Ok(()) };
    Err(Error::NotFinite { found, file: shard.name.clone(), may_be_kept: false })
}

fn row_bytes(meta: &TensorMeta) -> usize {
    let rows = meta.shape().first().copied().unwrap_or(1).max(1);
    (meta.bytes() / rows as u64) as usize
}
