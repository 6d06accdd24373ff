//! The compiled character map of a sentencepiece normalizer.
//!
//! `u32` bytes of trie, the trie as little-endian `u32` units of a double array, then replacements
//! that end in NUL; the whole in base64. A unit holds the label by which it is reached (bits 0 to 7,
//! and 31 clear), whether a value hangs below it (bit 8), and where its children lie (bits 10 to 30,
//! times 256 if bit 9 is set; exclusive or with its own place). The unit of a value has bit 31 set.

/// Says why a map could not be walked safely with any text.
pub(crate) fn check(base64: &str) -> Result<(), String> {
    let bytes = decoded(base64).ok_or("has a `precompiled_charsmap` that is not base64")?;
    let (trie, replacements) = split(&bytes).ok_or("has a `precompiled_charsmap` cut short")?;
    let replacements = str::from_utf8(replacements)
        .map_err(|_| "has a `precompiled_charsmap` whose replacements are not UTF-8")?;
    match trie.iter().enumerate().all(|(place, unit)| is_sound(place, *unit, &trie, replacements)) {
        true if !trie.is_empty() => Ok(()),
        _ => Err("has a `precompiled_charsmap` that points outside itself".to_owned()),
    }
}

/// Whether every step from a unit stays inside.
fn is_sound(place: usize, unit: u32, trie: &[u32], replacements: &str) -> bool {
    let is_node = unit & VALUE == 0;
    if !is_node {
        return true;
    }
    let children = place ^ ((unit >> 10) << ((unit & 0x200) >> 6)) as usize;
    // A child lies at this place with the byte of its label flipped in.
    if children | 0xff >= trie.len() {
        return false;
    }
    let has_value = unit >> 8 & 1 == 1;
    !has_value || replacements.is_char_boundary((trie[children] & !VALUE) as usize)
}

const VALUE: u32 = 1 << 31;

fn split(bytes: &[u8]) -> Option<(Vec<u32>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (trie, replacements) = rest.split_at_checked(length / 4 * 4)?;
    let units = trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit));
    Some((units.collect(), replacements))
}

fn decoded(base64: &str) -> Option<Vec<u8>> {
    let digits = base64.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 3);
    for quad in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in quad {
            let at = DIGITS.iter().position(|known| known == digit)?;
            bits = bits << 6 | at as u32;
        }
        bits <<= 6 * (4 - quad.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..][..quad.len() * 6 / 8]);
    }
    Some(bytes)
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn encoded(bytes: &[u8]) -> String {
        let mut text = String::new();
        for part in bytes.chunks(3) {
            let mut word = [0; 4];
            word[1..=part.len()].copy_from_slice(part);
            let bits = u32::from_be_bytes(word);
            for digit in 0..4 {
                let at = (bits >> (18 - 6 * digit) & 63) as usize;
                text.push(if digit <= part.len() { DIGITS[at] as char } else { '=' });
            }
        }
        text
    }

    fn map(trie: &[u32], replacements: &str) -> String {
        let mut bytes = (4 * trie.len() as u32).to_le_bytes().to_vec();
        trie.iter().for_each(|unit| bytes.extend_from_slice(&unit.to_le_bytes()));
        bytes.extend_from_slice(replacements.as_bytes());
        encoded(&bytes)
    }

    /// A trie that maps `a` to the replacement at `value`.
    pub(crate) fn map_of_a(value: u32, replacements: &str) -> String {
        let mut trie = [0_u32; 256];
        trie[b'a' as usize] = u32::from(b'a') | 1 << 8 | u32::from(b'a' ^ 1) << 10;
        trie[1] = VALUE | value;
        map(&trie, replacements)
    }

    fn check_case(map: &str, expected: Result<(), &str>) {
        assert_eq!(
            check(map).map_err(|why| why.replace("has a `precompiled_charsmap` ", "")),
            expected.map_err(str::to_owned)
        );
    }

    #[test]
    fn a_map_that_stays_inside_is_sound() {
        check_case(&map_of_a(0, "b\0"), Ok(()));
        check_case(&map_of_a(2, "b\0"), Ok(()));
    }

    #[test]
    fn what_leads_outside_is_refused() {
        let outside = Err("that points outside itself");
        check_case(&map_of_a(3, "b\0"), outside);
        check_case(&map_of_a(1, "é\0"), outside);
        check_case(&map(&[0; 255], ""), outside);
        check_case(&map(&[1 << 20; 256], ""), outside);
        check_case(&map(&[], "b\0"), outside);
    }

    #[test]
    fn what_is_no_map_is_refused() {
        check_case("AA", Err("cut short"));
        check_case("/////w==", Err("cut short"));
        check_case("A*==", Err("that is not base64"));
        check_case(&encoded(&[0, 0, 0, 0, 0xff]), Err("whose replacements are not UTF-8"));
    }
}
