//! Strings at which a text ends.

use llmopt_data::Folder;
use llmopt_run::Error;

/// Where one of these begins, the text ends before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stops {
    strings: Vec<String>,
}

impl Stops {
    /// Strings that are not empty.
    pub(super) fn new(strings: Vec<String>) -> Self {
        Self { strings }
    }

    /// Whether the text of these tokens holds one of the strings.
    pub(super) fn are_in(&self, tokens: &[u32], folder: &Folder) -> Result<bool, Error> {
        let Some(longest) = self.strings.iter().map(String::len).max() else { return Ok(false) };
        // Most tokens complete nothing, and only the last ones are decoded to see it.
        let tail = &tokens[tokens.len().saturating_sub(longest + MARGIN)..];
        let holds = |text: String| self.first_in(&text).is_some();
        Ok(holds(folder.decoded(tail)?) && holds(folder.decoded(tokens)?))
    }

    /// The text up to the first of the strings, and whether there is one.
    pub(super) fn cut(&self, mut text: String) -> (String, bool) {
        let first = self.first_in(&text);
        text.truncate(first.unwrap_or(text.len()));
        (text, first.is_some())
    }

    fn first_in(&self, text: &str) -> Option<usize> {
        self.strings.iter().filter_map(|string| text.find(string)).min()
    }
}

/// Tokens before those that a string can be made of: a decoder may take a space off the first.
const MARGIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_before_the_first_of_the_strings() {
        let stops = |strings: &[&str]| Stops::new(strings.iter().map(|&s| s.to_owned()).collect());
        let check = |strings: &[&str], expected: (&str, bool)| {
            let found = stops(strings).cut("één two. Three two".to_owned());
            assert_eq!(found, (expected.0.to_owned(), expected.1));
        };
        check(&[], ("één two. Three two", false));
        check(&["four"], ("één two. Three two", false));
        check(&["Three", "two"], ("één ", true));
        check(&["wo", "two"], ("één ", true));
        check(&["é"], ("", true));
    }
}
