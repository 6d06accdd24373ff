//! Files to measure on, by name.

use llmopt_eval::is_part_name;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;

/// A text or tasks, with the name that gates and reports know them by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// Letters, digits, `-` and `_`. Only a file that is the only one of its kind needs none.
    pub name: Option<String>,
    /// Where it is.
    pub path: PathBuf,
}

/// A name that none can have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{name}` in `{text}` is no name: names are letters, digits, `-` and `_`; a file that has `=` in its \
     own name is written with its folder, `./{text}`"
)]
pub struct NamedFileError {
    text: String,
    name: String,
}

impl NamedFile {
    /// A file with a name.
    pub fn named(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { name: Some(name.into()), path: path.into() }
    }
}

impl<P: Into<PathBuf>> From<P> for NamedFile {
    fn from(path: P) -> Self {
        Self { name: None, path: path.into() }
    }
}

impl FromStr for NamedFile {
    type Err = NamedFileError;

    /// `NAME=FILE`, or `FILE`. What stands before `=` and has a dot or a slash belongs to a path.
    fn from_str(text: &str) -> Result<Self, NamedFileError> {
        let is_path = |before: &str| before.contains(['.', '/', '\\']);
        match text.split_once('=') {
            Some((name, path)) if is_part_name(name) => Ok(Self::named(name, path)),
            Some((name, _)) if !is_path(name) => {
                Err(NamedFileError { text: text.to_owned(), name: name.to_owned() })
            }
            _ => Ok(text.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_before_the_file_and_paths_may_hold_its_sign() {
        let check = |text: &str, expected: NamedFile| assert_eq!(text.parse(), Ok(expected));
        check("chat.jsonl", "chat.jsonl".into());
        check("chat=a/b.jsonl", NamedFile::named("chat", "a/b.jsonl"));
        check("chat-2_x=a=b.txt", NamedFile::named("chat-2_x", "a=b.txt"));
        check("./a=b.txt", "./a=b.txt".into());
        check("a.b=c", "a.b=c".into());
        for (text, name) in [("my text=a.txt", "my text"), ("=a.txt", "")] {
            let error = text.parse::<NamedFile>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{name}` in `{text}` is no name: ")), "{error}");
        }
    }
}
