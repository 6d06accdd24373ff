//! A file of lines that grows under another name, and gets its own once it is whole.
//!
//! `NAME.partial` is a [`Journal`] of the lines, so that a killed run goes on where it stopped; `NAME` is
//! what it says without its first line. Each line is a JSON value.

use crate::file::kind;
use crate::journal::Journal;
use crate::output_path::{OutputPath, rename, sync_folder};
use crate::{Error, RequestError};
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// A file under way. The lines that it has got stay on the disk until [`GrowingFile::publish`].
#[derive(Debug)]
pub struct GrowingFile {
    path: OutputPath,
    journal: Journal,
    has_lines: bool,
    /// Locked, so that no other run writes here.
    _lock: File,
}

impl GrowingFile {
    /// A file that will lie at `target`, with the lines that an earlier run has left of the work that
    /// `identity` names. With `force` it replaces a file that is there, and what is left of other work.
    ///
    /// # Errors
    /// If a file, or other work, is in the way, another run is writing it, or nothing can be written
    /// there.
    pub fn open(target: &Path, identity: &str, force: bool) -> Result<(Vec<String>, Self), Error> {
        let path = OutputPath::new(target)?;
        path.refuse_existing(force, true)?;
        let lock = locked(&path)?;
        let partial = &path.partial;
        let (lines, journal) = match Journal::resume(partial, identity)? {
            Some(resumed) => resumed,
            None if !force && Journal::is_of_other_work(partial, identity)? => {
                return Err(RequestError::InTheWay { path: partial.clone() }.into());
            }
            None => {
                let file = lock.try_clone().map_err(|error| Error::write(partial, error))?;
                (Vec::new(), Journal::start_in(file, partial, identity)?)
            }
        };
        let has_lines = !lines.is_empty();
        Ok((lines, Self { path, journal, has_lines, _lock: lock }))
    }

    /// Adds lines, each a JSON value, and waits until they are on the disk.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn append(&mut self, lines: &[String]) -> Result<(), Error> {
        self.has_lines = true;
        self.journal.append(lines)
    }

    /// Gives the lines their name.
    ///
    /// # Errors
    /// If they cannot be written; all of them are kept then.
    pub fn publish(self) -> Result<(), Error> {
        let OutputPath { target, parent, partial, .. } = &self.path;
        let mut whole = target.clone().into_os_string();
        whole.push(".whole");
        let whole = PathBuf::from(whole);
        let mut lines =
            BufReader::new(File::open(partial).map_err(|error| Error::read(partial, error))?);
        lines.skip_until(b'\n').map_err(|error| Error::read(partial, error))?;
        let written = File::create(&whole).and_then(|mut file| {
            io::copy(&mut lines, &mut file)?;
            file.sync_all()
        });
        written.map_err(|error| Error::write(&whole, error))?;
        rename(&whole, target)?;
        sync_folder(parent)?;
        fs::remove_file(partial).map_err(|error| Error::write(partial, error))
    }
}

impl Drop for GrowingFile {
    fn drop(&mut self) {
        // A run that was refused leaves nothing; after publishing there is nothing of this name.
        if !self.has_lines {
            let _ = fs::remove_file(&self.path.partial);
        }
    }
}

/// The partial file, made where there is none, and nobody else's.
fn locked(path: &OutputPath) -> Result<File, Error> {
    let partial = &path.partial;
    if let Ok(facts) = fs::symlink_metadata(partial)
        && !facts.is_file()
    {
        let (path, found) = (partial.clone(), kind(facts.file_type()));
        return Err(RequestError::NotReplaceable { path, found }.into());
    }
    let file = File::options().create(true).append(true).open(partial);
    let file = file.map_err(|error| Error::write(partial, error))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(RequestError::Busy { path: path.target.clone() }.into())
        }
        // Not every file system can lock.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_text;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| name(entry).unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn lines_of_a_killed_run_are_kept_and_the_whole_gets_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.jsonl");
        let (found, mut file) = GrowingFile::open(&target, "work", false).unwrap();
        assert!(found.is_empty());
        file.append(&lines(&["1", "[2]"])).unwrap();
        drop(file);
        assert_eq!(names(folder.path()), ["out.jsonl.partial"]);
        crate::append_file(&folder.path().join("out.jsonl.partial"), b"{\"cut").unwrap();

        let (found, mut file) = GrowingFile::open(&target, "work", false).unwrap();
        assert_eq!(found, ["1", "[2]"]);
        file.append(&lines(&["3"])).unwrap();
        file.publish().unwrap();
        assert_eq!(names(folder.path()), ["out.jsonl"]);
        assert_eq!(read_text(&target, 99).unwrap(), "1\n[2]\n3\n");
    }

    #[test]
    fn what_is_there_is_replaced_only_by_force() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.jsonl");
        let refused = |identity: &str| {
            let error = GrowingFile::open(&target, identity, false).unwrap_err().to_string();
            error.replace(&format!("{}/", folder.path().display()), "")
        };
        let (_, mut file) = GrowingFile::open(&target, "work", false).unwrap();
        file.append(&lines(&["1"])).unwrap();
        assert_eq!(refused("work"), "another run is writing `out.jsonl`");
        drop(file);
        assert_eq!(refused("other"), "`out.jsonl.partial` is in the way");
        let (found, file) = GrowingFile::open(&target, "other", true).unwrap();
        assert!(found.is_empty());
        file.publish().unwrap();
        assert_eq!(refused("other"), "`out.jsonl` exists already");
        let (_, mut file) = GrowingFile::open(&target, "other", true).unwrap();
        file.append(&lines(&["2"])).unwrap();
        assert_eq!(read_text(&target, 9).unwrap(), "");
        file.publish().unwrap();
        assert_eq!(read_text(&target, 9).unwrap(), "2\n");
    }
}
