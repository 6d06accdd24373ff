//! Whether two tensors are the same.

use crate::{Error, HeaderEntry, Shard};

/// Whether two tensors have the same type, shape and bytes. They are read in pieces.
///
/// # Errors
/// If one of them cannot be read.
pub fn are_equal(
    (one, first): (&Shard, &HeaderEntry),
    (other, second): (&Shard, &HeaderEntry),
) -> Result<bool, Error> {
    if first.meta != second.meta {
        return Ok(false);
    }
    let bytes = first.meta.bytes();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for begin in (0..bytes).step_by(PIECE_BYTES as usize) {
        let range = begin..(begin + PIECE_BYTES).min(bytes);
        let length = (range.end - range.start) as usize;
        left.resize(length, 0);
        right.resize(length, 0);
        one.read_tensor(first, range.clone(), &mut left)?;
        other.read_tensor(second, range, &mut right)?;
        if left != right {
            return Ok(false);
        }
    }
    Ok(true)
}

const PIECE_BYTES: u64 = 1 << 20;
