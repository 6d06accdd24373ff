//! The text that comes with the program, for who has none.
//!
//! Its parts, each of one kind, lie in `text` as plain files, and `text/SOURCES.md` says where they are from.
//! Documents of all parts are spread evenly, so that even a few windows from the start have something of each.

use llmopt_checkpoint::Sha256;
use llmopt_text::interleaved;

/// The documents, in the order in which windows are cut from them. Each ends with an empty line.
pub(super) fn documents() -> Vec<String> {
    let parts = PARTS.map(|part| part.trim_end().split(SEPARATOR).collect::<Vec<_>>());
    let counts = parts.each_ref().map(Vec::len);
    let mut parts = parts.map(Vec::into_iter);
    let order = interleaved(&counts).into_iter();
    order.filter_map(|part| parts[part].next()).map(|document| format!("{document}\n\n")).collect()
}

/// The hash of the documents, one after the other.
pub(super) fn sha256() -> String {
    let mut hash = Sha256::new();
    documents().iter().for_each(|document| hash.update(document.as_bytes()));
    hash.finish()
}

/// Where documents fall on one place, those of the first part are first.
const PARTS: [&str; 7] = [
    include_str!("../text/encyclopaedia.txt"),
    include_str!("../text/articles.txt"),
    include_str!("../text/prose.txt"),
    include_str!("../text/languages.txt"),
    include_str!("../text/code.txt"),
    include_str!("../text/chat.txt"),
    include_str!("../text/tokenized.txt"),
];

/// What stands between two documents of a part.
const SEPARATOR: &str = "\n%\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_from_anywhere_has_something_of_most_parts() {
        let documents = documents();
        let part =
            |document: &String| PARTS.iter().position(|part| part.contains(document.trim_end()));
        for stretch in documents.chunks_exact(100) {
            let parts: Vec<Option<usize>> = stretch.iter().map(part).collect();
            for number in 0..PARTS.len() {
                assert!(parts.contains(&Some(number)), "part {number} is not in {parts:?}");
            }
        }
    }

    #[test]
    fn documents_are_pages_of_plain_text() {
        for document in documents() {
            assert!((300..6000).contains(&document.len()), "{} bytes: {document}", document.len());
            let is_plain = |c: char| c == '\n' || c == '\t' || !c.is_control();
            assert!(document.chars().all(is_plain), "{document:?}");
            assert!(!document.contains("\n%"), "{document}");
        }
    }

    /// Recorded hashes of windows are of this text: who changes it says so in `text/SOURCES.md`.
    #[test]
    fn the_text_is_the_one_that_its_page_names() {
        let page = include_str!("../text/SOURCES.md");
        assert!(page.contains(&sha256()), "the text has hash {}", sha256());
    }
}
