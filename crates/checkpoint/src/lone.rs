//! A single file whose length is known before its content, written in any order.

use crate::disk::reserve;
use crate::pending::refuse_other_than_file;
use crate::{Error, OutFile};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A file that gets its name once it is complete. Until then it lies beside its place, and it is
/// removed if it never is.
#[derive(Debug)]
pub struct LoneFile {
    file: OutFile,
    partial: PathBuf,
    path: PathBuf,
}

impl LoneFile {
    /// A file of `bytes` bytes that will lie at `path`, over what may be there.
    ///
    /// # Errors
    /// If the folder cannot be written to, or the disk has not that much room.
    pub fn create(path: &Path, bytes: u64) -> Result<Self, Error> {
        refuse_other_than_file(path)?;
        let mut partial = OsString::from(path);
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let empty = File::create(&partial).map_err(|error| Error::write(&partial, error))?;
        let opened = reserve(&empty, &partial, bytes).and_then(|()| OutFile::open(partial.clone()));
        match opened {
            Ok(file) => Ok(Self { file, partial, path: path.to_owned() }),
            Err(error) => {
                let _ = fs::remove_file(&partial);
                Err(error)
            }
        }
    }

    /// Writes `bytes` from `offset` on.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_at(offset, bytes)
    }

    /// Gives the file its name, once everything is on the disk.
    pub fn publish(self) -> Result<(), Error> {
        self.file.sync()?;
        fs::rename(&self.partial, &self.path).map_err(|error| Error::write(&self.path, error))
    }
}

impl Drop for LoneFile {
    fn drop(&mut self) {
        // After publishing there is nothing of this name; before, nobody will ever want it.
        let _ = fs::remove_file(&self.partial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_file_gets_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        drop(LoneFile::create(&path, 4).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let file = LoneFile::create(&path, 4).unwrap();
        file.write_at(2, b"cd").unwrap();
        file.write_at(0, b"ab").unwrap();
        assert!(file.write_at(3, b"ef").is_err());
        file.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abcd");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
