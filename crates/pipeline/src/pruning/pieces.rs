//! Pieces in which tensors are copied and compared.

use std::ops::Range;

/// Ranges of a tensor's bytes, of constant size.
pub(super) fn pieces(bytes: u64) -> impl Iterator<Item = Range<u64>> {
    let begins = (0..bytes).step_by(COPY_BYTES);
    begins.map(move |begin| begin..(begin + COPY_BYTES as u64).min(bytes))
}

/// Bytes that are copied at a time.
pub(super) const COPY_BYTES: usize = 1 << 20;
