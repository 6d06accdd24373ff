//! A long text in pieces: the library that encodes takes some 150 bytes for each byte of what it is given at once.
//!
//! A text may be cut where what comes behind has, encoded alone, the ids that it has in the whole. That is not assumed of
//! any place, but tried on the next few thousand bytes: ids depend on what stands near them, by the pattern that splits
//! words and by merges inside of these. Where no place holds, the rest is encoded at once.

/// Hands on the ids of a text piece by piece, as `encode` gives those of a short one.
pub(super) fn encode_each<E>(
    text: &str,
    piece: usize,
    encode: impl Fn(&str) -> Result<Vec<u32>, E>,
    mut take: impl FnMut(&[u32]),
) -> Result<(), E> {
    let mut rest = text;
    let tried = piece / 8;
    while rest.len() > piece + tried {
        let window = &rest[..boundary(rest, piece + tried)];
        let Some((before, cut)) = first_piece(window, piece, &encode)? else { break };
        take(&before);
        rest = &rest[cut..];
    }
    take(&encode(rest)?);
    Ok(())
}

/// The ids of the first part of `window`, and where it ends; none, if no place to cut was found.
fn first_piece<E>(
    window: &str,
    piece: usize,
    encode: &impl Fn(&str) -> Result<Vec<u32>, E>,
) -> Result<Option<(Vec<u32>, usize)>, E> {
    let mut ids = encode(window)?;
    for cut in places(window, piece) {
        let behind = encode(&window[cut..])?;
        if ids.ends_with(&behind) {
            ids.truncate(ids.len() - behind.len());
            return Ok(Some((ids, cut)));
        }
    }
    Ok(None)
}

/// Places where a word ends and what comes next begins: the first few behind `piece` bytes. A line's
/// end first, then what most tokenizers put a space in front of.
fn places(window: &str, piece: usize) -> impl Iterator<Item = usize> {
    let from = boundary(window, piece);
    let signs = || window[from..].char_indices().zip(window[from..].chars().skip(1));
    let ends_line = move |((at, sign), next): ((usize, char), char)| {
        (sign == '\n' && !next.is_whitespace()).then_some(from + at + 1)
    };
    let ends_word = move |((at, sign), next): ((usize, char), char)| {
        (sign.is_alphanumeric() && next == ' ').then_some(from + at + sign.len_utf8())
    };
    signs().filter_map(ends_line).take(TRIED).chain(signs().filter_map(ends_word).take(TRIED))
}

/// The last place at or before `at` where a character begins.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// Places that are tried.
const TRIED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::convert::Infallible;

    /// Words with the space before them, as numbers; the longest text that was given at once.
    fn words(longest: &Cell<usize>) -> impl Fn(&str) -> Result<Vec<u32>, Infallible> {
        |text: &str| {
            longest.set(longest.get().max(text.len()));
            let words = text.split_inclusive([' ', '\n']);
            Ok(words.map(|word| word.bytes().map(u32::from).sum()).collect())
        }
    }

    fn encoded(
        text: &str,
        encode: impl Fn(&str) -> Result<Vec<u32>, Infallible>,
    ) -> Result<Vec<u32>, Infallible> {
        let mut ids = Vec::new();
        encode_each(text, 512, encode, |piece| ids.extend(piece)).map(|()| ids)
    }

    fn text() -> String {
        (0..2000).map(|n| format!("word {n}{}", if n % 7 == 0 { '\n' } else { ' ' })).collect()
    }

    #[test]
    fn ids_are_those_of_the_whole_and_no_piece_is_long() {
        let (text, longest) = (text(), Cell::new(0));
        let whole = words(&Cell::new(0))(&text).expect("ids");
        assert_eq!(encoded(&text, words(&longest)), Ok(whole));
        assert!(longest.get() <= 600, "{}", longest.get());
    }

    #[test]
    fn what_depends_on_the_beginning_is_encoded_at_once() {
        let longest = Cell::new(0);
        let marked = |text: &str| words(&longest)(&format!("^{text}"));
        let text = text();
        assert_eq!(encoded(&text, marked), words(&Cell::new(0))(&format!("^{text}")));
        assert_eq!(longest.get(), text.len() + 1);
    }

    #[test]
    fn text_without_a_place_to_cut_is_encoded_at_once() {
        let longest = Cell::new(0);
        let text = "é".repeat(5000);
        encoded(&text, words(&longest)).expect("ids");
        assert_eq!(longest.get(), text.len());
    }
}
