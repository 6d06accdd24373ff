//! A small file that is announced before the work whose result it will hold.

use crate::file::kind;
use crate::{Error, RequestError};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file that can be written: it was created beside its place. What lies there stays until the new content
/// is complete, and nothing is left if it never is.
#[derive(Debug)]
pub struct PendingFile {
    file: File,
    partial: PathBuf,
    path: PathBuf,
}

impl PendingFile {
    /// A file that will lie at `path`, over a file that may be there.
    ///
    /// # Errors
    /// If something else than a file is there, or nothing can be written beside it.
    pub fn create(path: &Path) -> Result<Self, Error> {
        refuse_other_than_file(path)?;
        let mut partial = OsString::from(path);
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(|error| Error::write(&partial, error))?;
        Ok(Self { file, partial, path: path.to_owned() })
    }

    /// Gives it its content and its name, once that is on the disk.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn publish(mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .and_then(|()| self.file.sync_all())
            .map_err(|error| Error::write(&self.partial, error))?;
        fs::rename(&self.partial, &self.path).map_err(|error| Error::write(&self.path, error))
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        // After publishing there is nothing of this name.
        let _ = fs::remove_file(&self.partial);
    }
}

/// Refuses a folder or a device where a file is to be.
pub(crate) fn refuse_other_than_file(path: &Path) -> Result<(), Error> {
    match fs::metadata(path) {
        Ok(facts) if !facts.is_file() => {
            let found = kind(facts.file_type());
            Err(RequestError::NotReplaceable { path: path.to_owned(), found }.into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn an_old_file_stays_until_the_new_one_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        fs::File::create(&path).unwrap().write_all(b"old").unwrap();
        let abandoned = PendingFile::create(&path).unwrap();
        drop(abandoned);
        assert_eq!(crate::read_text(&path, 9).unwrap(), "old");
        PendingFile::create(&path).unwrap().publish(b"new").unwrap();
        assert_eq!(crate::read_text(&path, 9).unwrap(), "new");
        assert_eq!(names(folder.path()), ["report.json"]);
    }

    #[test]
    fn what_cannot_be_a_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(PendingFile::create(folder.path()).is_err());
        assert!(PendingFile::create(Path::new("/dev/full")).is_err());
        assert!(PendingFile::create(&folder.path().join("none/report.json")).is_err());
        assert!(names(folder.path()).is_empty());
    }
}
