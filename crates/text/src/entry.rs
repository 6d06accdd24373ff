//! The entries of a file of JSON: a line each, or the elements of one array.

use serde_json::Value;
use std::fmt;

/// How the entries of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// One JSON value a line; blank lines do not count.
    Lines,
    /// One JSON array. A file that does not begin as one is read as lines, as the `datasets` library
    /// does with a `.json` file.
    Array,
}

/// Where an entry stands, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Its line.
    Line(usize),
    /// Its place in the array.
    Element(usize),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Element(number) => write!(f, "element {number}"),
        }
    }
}

/// An entry and its value, or why it is not JSON.
type Read = (Entry, Result<Value, String>);

impl Entries {
    /// The entries of `text`, in order.
    ///
    /// # Errors
    /// Why it is no array, if it begins as one.
    pub(crate) fn read(self, text: &str) -> Result<Box<dyn Iterator<Item = Read> + '_>, String> {
        match self {
            Self::Array if text.trim_start().starts_with('[') => {
                let values: Vec<Value> =
                    serde_json::from_str(text).map_err(|error| error.to_string())?;
                let numbered = values.into_iter().enumerate();
                Ok(Box::new(numbered.map(|(index, value)| (Entry::Element(index + 1), Ok(value)))))
            }
            Self::Lines | Self::Array => Ok(Box::new(lines(text))),
        }
    }
}

fn lines(text: &str) -> impl Iterator<Item = Read> {
    let numbered = text.split('\n').enumerate().map(|(index, line)| (index + 1, line));
    let filled = numbered.filter(|(_, line)| !line.trim().is_empty());
    filled.map(|(number, line)| {
        (Entry::Line(number), serde_json::from_str(line).map_err(|error| without_place(&error)))
    })
}

/// A line of JSON has only its columns; the library counts its lines from 1 too.
fn without_place(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}
