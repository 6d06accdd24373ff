//! Proposals from the text itself.

/// What followed the last time that the last three, two or one tokens were said, at most `wanted`.
pub(super) fn proposed(tokens: &[u32], wanted: usize) -> Vec<u32> {
    let found = (1..=LONGEST.min(tokens.len())).rev().find_map(|length| {
        let (before, last) = tokens.split_at(tokens.len() - length);
        // It may overlap with the last ones, but must be followed by something.
        let place = (0..before.len()).rev().find(|&at| tokens[at..][..length] == *last)?;
        Some(&tokens[place + length..])
    });
    found.map_or_else(Vec::new, |following| following[..wanted.min(following.len())].to_vec())
}

/// Tokens that must agree, to begin with.
const LONGEST: usize = 3;

#[cfg(test)]
mod tests {
    use super::proposed;

    #[test]
    fn the_longest_match_decides_and_the_last_of_equals() {
        assert_eq!(proposed(&[1, 2, 3, 9, 7, 3, 8, 1, 2, 3], 2), [9, 7]);
        assert_eq!(proposed(&[5, 1, 5, 2, 5], 3), [2, 5]);
        assert_eq!(proposed(&[4, 4, 4, 4], 3), [4]);
        assert_eq!(proposed(&[1, 2, 3], 3), [0; 0]);
        assert_eq!(proposed(&[], 3), [0; 0]);
        assert_eq!(proposed(&[1, 1], 0), [0; 0]);
    }
}
