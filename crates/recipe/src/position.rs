//! Where something stands in a recipe, and what is wrong there.

use std::fmt;
use thiserror::Error;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// In the file: line and column of its first character, both counted from 1. A column is a character.
    File {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In an override, which is given whole.
    Override(String),
}

/// What is wrong with a recipe.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{position}: {what}")]
pub struct Problem {
    /// Where.
    pub position: Position,
    /// What is wrong, what was expected, and what was found.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The places of all bytes of a text.
pub(crate) struct Places {
    /// Line and column of each byte, and of the end.
    places: Vec<(usize, usize)>,
}

impl Places {
    /// Of a text, in one pass over it.
    pub(crate) fn of(text: &str) -> Self {
        let mut places = Vec::with_capacity(text.len() + 1);
        let (mut line, mut column) = (1, 1);
        for character in text.chars() {
            places.extend(std::iter::repeat_n((line, column), character.len_utf8()));
            match character {
                '\n' => (line, column) = (line + 1, 1),
                _ => column += 1,
            }
        }
        places.push((line, column));
        Self { places }
    }

    /// The place of a byte; the end, if the text is shorter.
    pub(crate) fn at(&self, offset: usize) -> Position {
        let (line, column) = self.places[offset.min(self.places.len() - 1)];
        Position::File { line, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { line, column } => write!(f, "{line}:{column}"),
            Self::Override(text) => write!(f, "--set {text}"),
        }
    }
}

impl Problem {
    /// Something wrong at `position`, without advice.
    pub fn new(position: &Position, what: impl Into<String>) -> Self {
        Self { position: position.clone(), what: what.into(), hint: None }
    }

    /// The same with advice.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters_and_lines_begin_behind_their_ends() {
        let text = "a\nbüc\n";
        let check = |offset, expected: &str| {
            assert_eq!(Places::of(text).at(offset).to_string(), expected, "{offset}");
        };
        check(0, "1:1");
        check(1, "1:2");
        check(2, "2:1");
        check(5, "2:3");
        check(7, "3:1");
        check(700, "3:1");
    }
}
