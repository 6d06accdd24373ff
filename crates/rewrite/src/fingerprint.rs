//! A checksum of a tensor's bytes whose pieces may come in any order.
//!
//! It compares what was written with what is read back; it is not meant to resist an adversary
//! (the report's SHA-256 is).

/// The checksum of `bytes`, a piece of a tensor that begins at its byte `begin`. The wrapping sum over
/// all pieces is the tensor's; it depends on where the tensor is cut.
pub(crate) fn fingerprint(begin: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word));
    let position = (begin..).step_by(8);
    let mixed = words.zip(position).map(|(word, position)| mixed(word, position));
    mixed.fold(0, u64::wrapping_add)
}

/// Two odd multipliers, high bits folded down between them, so that each input bit reaches all of
/// the upper half.
#[inline(always)]
fn mixed(word: u64, position: u64) -> u64 {
    let x =
        (word ^ position.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_moved_or_missing_byte_shows() {
        let bytes: Vec<u8> = (0..45u8).map(|i| i.wrapping_mul(77)).collect();
        let original = fingerprint(16, &bytes);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_ne!(fingerprint(16, &changed), original);
            }
        }
        let mut swapped = bytes.clone();
        swapped.swap(0, 8);
        assert_ne!(fingerprint(16, &swapped), original);
        assert_ne!(fingerprint(24, &bytes), original);
    }

    #[test]
    fn pieces_add_up_in_any_order() {
        let bytes: Vec<u8> = (0..64u8).collect();
        let (a, b) = (fingerprint(0, &bytes[..24]), fingerprint(24, &bytes[24..]));
        assert_eq!(a.wrapping_add(b), b.wrapping_add(a));
        assert_ne!(a.wrapping_add(b), a);
    }
}
