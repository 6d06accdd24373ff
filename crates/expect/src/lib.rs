//! Expected texts of tests, in files beside them that `UPDATE_EXPECT=1 cargo test` rewrites.
//!
//! For what is decided before any weight is read: a plan is a text, and a change of it is a change of lines
//! that git shows. What was rewritten is looked at before it is committed.

#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "tests read and rewrite files of the repository")]

mod diff;

use std::fs;
use std::path::Path;

/// Holds a text against `src/expected/NAME.txt` of the crate that calls it.
#[macro_export]
macro_rules! expect {
    ($name:expr, $found:expr) => {
        $crate::file(&format!("{}/src/expected/{}.txt", env!("CARGO_MANIFEST_DIR"), $name), $found)
    };
}

/// Holds `found` against the text in the file at `path`; with `UPDATE_EXPECT=1`, writes it there instead.
///
/// # Panics
/// If they differ, with the lines that do.
#[track_caller]
pub fn file(path: &str, found: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1") {
        let written = fs::create_dir_all(Path::new(path).parent().unwrap_or(Path::new("")))
            .and_then(|()| fs::write(path, found));
        return written.unwrap_or_else(|error| panic!("`{path}` cannot be written: {error}"));
    }
    if let Some(what) = difference(path, found) {
        panic!("{what}`UPDATE_EXPECT=1 cargo test` writes what was found");
    }
}

/// What is wrong with `found`, if anything is.
fn difference(path: &str, found: &str) -> Option<String> {
    match fs::read_to_string(path) {
        Ok(expected) if expected == found => None,
        Ok(expected) => Some(format!("`{path}` differs:\n{}", diff::lines(&expected, found))),
        Err(error) => Some(format!("`{path}` cannot be read: {error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_those_of_equal_bytes_in_a_file_that_is_there() {
        let name = format!("llmopt-expect-{}.txt", std::process::id());
        let path = std::env::temp_dir().join(name);
        let path = path.to_str().unwrap();
        fs::write(path, "one\ntwo\n").unwrap();
        assert_eq!(difference(path, "one\ntwo\n"), None);
        let differs = format!("`{path}` differs:\n");
        assert_eq!(
            difference(path, "one\n2\n"),
            Some(differs.clone() + "   one\n  -two\n  +2\n   \n")
        );
        assert_eq!(difference(path, "one\ntwo"), Some(differs + "   one\n   two\n  -\n"));
        fs::remove_file(path).unwrap();
        let missing = difference(path, "one\n").unwrap();
        assert!(missing.starts_with(&format!("`{path}` cannot be read: ")), "{missing}");
    }
}
