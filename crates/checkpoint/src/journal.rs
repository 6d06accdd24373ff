//! What an output has got so far, so that a killed run goes on where it stopped.
//!
//! A JSON value a line. The first line names the work; a last line that a crash cut short, or filled with
//! anything else, is taken off.

use crate::{Error, sha256};
use serde::de::IgnoredAny;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// An open journal, to be appended to.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Adds lines, each a JSON value, all with one write, and waits until they are on the disk.
    pub fn append(&mut self, lines: &[String]) -> Result<(), Error> {
        let text: String = lines.iter().map(|line| encoded(line)).collect();
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(|error| Error::write(&self.path, error))
    }

    /// The complete lines of the journal at `path`, and the journal itself, if there is one about the
    /// work that `identity` names.
    pub(crate) fn resume(
        path: &Path,
        identity: &str,
    ) -> Result<Option<(Vec<String>, Self)>, Error> {
        let mut options = OpenOptions::new();
        let Ok(mut file) = options.read(true).append(true).open(path) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| Error::read(path, error))?;
        let (mut lines, complete) = decoded(&bytes);
        if lines.first() != Some(&heading(identity)) {
            return Ok(None);
        }
        lines.remove(0);
        file.set_len(complete as u64).map_err(|error| Error::write(path, error))?;
        Ok(Some((lines, Self { path: path.to_owned(), file })))
    }

    /// Whether the journal at `path`, if there is one, tells of anything done for another work than the
    /// one that `identity` names.
    pub(crate) fn is_of_other_work(path: &Path, identity: &str) -> Result<bool, Error> {
        let mut bytes = Vec::new();
        let Ok(mut file) = File::open(path) else { return Ok(false) };
        file.read_to_end(&mut bytes).map_err(|error| Error::read(path, error))?;
        let (lines, _) = decoded(&bytes);
        Ok(lines.len() > 1 && lines.first() != Some(&heading(identity)))
    }

    /// An empty journal about the work that `identity` names.
    pub(crate) fn start(path: &Path, identity: &str) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(path)
            .map_err(|error| Error::write(path, error))?;
        Self::start_in(file, path, identity)
    }

    /// As [`Journal::start`], in a file that is open to be appended to. What it holds is lost.
    pub(crate) fn start_in(file: File, path: &Path, identity: &str) -> Result<Self, Error> {
        file.set_len(0).map_err(|error| Error::write(path, error))?;
        let mut journal = Self { path: path.to_owned(), file };
        journal.append(&[heading(identity)])?;
        Ok(journal)
    }
}

/// The first line: a recipe is long, and only whether it is the same one matters.
fn heading(identity: &str) -> String {
    serde_json::Value::from(format!("journal 2 {}", sha256(identity.as_bytes()))).to_string()
}

fn encoded(line: &str) -> String {
    format!("{line}\n")
}

/// The lines up to the first that is not whole, and how many bytes they take.
fn decoded(bytes: &[u8]) -> (Vec<String>, usize) {
    let mut lines = Vec::new();
    let mut complete = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let is_whole = serde_json::from_slice::<IgnoredAny>(line).is_ok() && line.ends_with(b"\n");
        match std::str::from_utf8(line) {
            Ok(text) if is_whole => lines.push(text.trim_end().to_owned()),
            _ => break,
        }
        complete += line.len();
    }
    (lines, complete)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_journal_of_other_work_is_not_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        assert!(Journal::resume(&path, "a").unwrap().is_none());
        Journal::start(&path, "a").unwrap();
        assert!(Journal::resume(&path, "b").unwrap().is_none());
        assert!(Journal::resume(&path, "a").unwrap().is_some());
    }

    proptest! {
        #[test]
        fn a_cut_journal_keeps_its_whole_lines_and_goes_on(
            texts: Vec<String>, cut in 0usize..40, tail in prop::collection::vec(0u8..10, 0..9)
        ) {
            let json = |text: &String| serde_json::Value::from(text.as_str()).to_string();
            let lines: Vec<String> = texts.iter().map(json).collect();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("journal");
            let mut journal = Journal::start(&path, "work").unwrap();
            journal.append(&lines).unwrap();
            let sizes: Vec<usize> = lines.iter().map(|line| encoded(line).len()).collect();

            let mut bytes = std::fs::read(&path).unwrap();
            let cut = cut.min(sizes.iter().sum());
            bytes.truncate(bytes.len() - cut);
            // Control characters below the line break: no line of ours.
            bytes.extend(tail);
            std::fs::write(&path, &bytes).unwrap();

            let mut lost = 0;
            let whole = lines.len()
                - sizes.iter().rev().take_while(|&size| { let cuts = lost < cut; lost += size; cuts }).count();
            let (found, mut journal) = Journal::resume(&path, "work").unwrap().unwrap();
            prop_assert_eq!(&found, &lines[..whole]);

            journal.append(&["[1, 2]".into()]).unwrap();
            let (found, _) = Journal::resume(&path, "work").unwrap().unwrap();
            prop_assert_eq!(found.last().map(String::as_str), Some("[1, 2]"));
            prop_assert_eq!(found.len(), whole + 1);
        }
    }
}
