//! A folder that one process at a time may write to.

use crate::{Error, RequestError};
use rustix::io::Errno;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The right to write to a folder, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Makes `folder` where there is none and takes the right to write to it.
    pub(crate) fn take(folder: &Path) -> Result<Self, Error> {
        let busy = || Error::from(RequestError::Busy { path: folder.to_owned() });
        // The holder of the right may move the folder away between any two of these steps.
        for _ in 0..ATTEMPTS {
            make_folder(folder)?;
            let path = folder.join(LOCK);
            let file = match File::options().create(true).append(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                file => file.map_err(|error| Error::write(&path, error))?,
            };
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => return Err(busy()),
                Err(TryLockError::Error(error)) if !cannot_lock(&error) => {
                    return Err(Error::write(&path, error));
                }
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            if is_at(&file, &path) {
                return Ok(Self { _file: file });
            }
        }
        Err(busy())
    }
}

/// Removes the lock of a run that was killed once its `folder` had its name. One that another run holds stays.
pub(crate) fn remove_left(folder: &Path) -> Result<(), Error> {
    let path = folder.join(LOCK);
    let is_lock = |facts: fs::Metadata| facts.is_file() && facts.len() == 0;
    if !fs::symlink_metadata(&path).is_ok_and(is_lock) {
        return Ok(());
    }
    let file = File::options().append(true).open(&path);
    match file.map(|file| file.try_lock().is_ok()) {
        Ok(true) => fs::remove_file(&path).map_err(|error| Error::write(&path, error)),
        _ => Ok(()),
    }
}

fn make_folder(folder: &Path) -> Result<(), Error> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(Error::write(folder, error)),
        // A link would send everything that is written, and removed, somewhere else.
        Err(_) if !fs::symlink_metadata(folder).is_ok_and(|facts| facts.is_dir()) => {
            Err(RequestError::InTheWay { path: folder.to_owned() }.into())
        }
        _ => Ok(()),
    }
}

/// Some network file systems have no locks. Refusing to write there would be worse than trusting that
/// nobody runs the same command twice.
fn cannot_lock(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP))
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |facts: fs::Metadata| (facts.dev(), facts.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => identity(open) == identity(named),
        _ => false,
    }
}

/// The lock's file in the folder. Hidden, so that no side file has its name.
pub(crate) const LOCK: &str = ".lock";

const ATTEMPTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_folder_has_one_writer_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.partial");
        let check = |expected: &str| {
            let error = Lock::take(&path).unwrap_err();
            assert_eq!(error.to_string(), format!("{expected}"));
        };
        let held = Lock::take(&path).unwrap();
        check(&format!("another run is writing `{}`", path.display()));
        drop(held);
        drop(Lock::take(&path).unwrap());
        fs::remove_dir_all(&path).unwrap();
        symlink(folder.path(), &path).unwrap();
        check(&format!("`{}` is in the way", path.display()));
    }

    #[test]
    fn a_lock_that_was_left_goes_unless_it_is_held_or_none_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let held = Lock::take(&path).unwrap();
        remove_left(&path).unwrap();
        assert!(path.join(LOCK).exists());
        drop(held);
        remove_left(&path).unwrap();
        assert!(!path.join(LOCK).exists());
        fs::write(path.join(LOCK), "theirs").unwrap();
        remove_left(&path).unwrap();
        assert!(path.join(LOCK).exists());
    }

    #[test]
    fn a_lock_that_moved_away_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.partial");
        let _held = Lock::take(&path).unwrap();
        fs::rename(&path, folder.path().join("x")).unwrap();
        Lock::take(&path).unwrap();
    }
}
