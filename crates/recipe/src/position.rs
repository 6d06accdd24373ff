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

impl Position {
    /// The place of the byte `offset` of `text`; its end, if the text is shorter.
    pub(crate) fn of_byte(text: &str, offset: usize) -> Self {
        let before = text.char_indices().take_while(|(at, _)| *at < offset).map(|(_, c)| c);
        let (mut line, mut column) = (1, 1);
        for character in before {
            match character {
                '\n' => (line, column) = (line + 1, 1),
                _ => column += 1,
            }
        }
        Self::File { line, column }
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
            assert_eq!(Position::of_byte(text, offset).to_string(), expected, "{offset}");
        };
        check(0, "1:1");
        check(1, "1:2");
        check(2, "2:1");
        check(5, "2:3");
        check(7, "3:1");
        check(700, "3:1");
    }
}
