//! How much room a disk has, and keeping some of it.

use crate::{DiskLimit, Error};
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;

/// Bytes that an ordinary user may still write at `path`, which need not exist yet.
pub fn free_disk(path: &Path) -> Result<u64, Error> {
    let nearest = path
        .ancestors()
        .map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("."));
    let facts = rustix::fs::statvfs(nearest).map_err(|errno| Error::read(nearest, errno.into()))?;
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// Makes the empty `file` at `path` `bytes` long and keeps that much room on the disk, so that a full
/// disk is found before the work and not in the middle of it.
pub(crate) fn reserve(file: &File, path: &Path, bytes: u64) -> Result<(), Error> {
    let free = free_disk(path)?;
    let full = || Error::DiskFull { path: path.to_owned(), needed: bytes, free };
    let over = |limit| Error::DiskLimit { path: path.to_owned(), needed: bytes, free, limit };
    if bytes > free {
        return Err(full());
    }
    match allocate(file, bytes) {
        Ok(()) => Ok(()),
        Err(Errno::NOSPC) => Err(full()),
        Err(Errno::DQUOT) => Err(over(DiskLimit::Quota)),
        Err(Errno::FBIG) => Err(over(DiskLimit::FileSize)),
        // Not every file system can reserve; a sparse file of the length is the next best.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            file.set_len(bytes).map_err(|error| Error::write(path, error))
        }
        Err(errno) => Err(Error::write(path, errno.into())),
    }
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, bytes: u64) -> Result<(), Errno> {
    if bytes == 0 {
        return Ok(());
    }
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes)
}

#[cfg(not(target_os = "linux"))]
fn allocate(_: &File, _: u64) -> Result<(), Errno> {
    Err(Errno::OPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_known_for_a_path_yet_to_be_made() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_disk(&folder.path().join("not/yet/there")).unwrap() > 0);
        assert!(free_disk(Path::new("not-yet-there")).unwrap() > 0);
    }

    #[test]
    fn reserved_files_have_their_length_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for bytes in [0, 1, 123_457] {
            let path = folder.path().join("file");
            let file = File::create(&path).unwrap();
            reserve(&file, &path, bytes).unwrap();
            assert_eq!(file.metadata().unwrap().len(), bytes);
        }
    }

    #[test]
    fn more_than_the_disk_has_is_refused_with_both_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::create(&path).unwrap();
        let needed = 1 << 62;
        match reserve(&file, &path, needed) {
            Err(Error::DiskFull { needed: said, free, .. }) => {
                assert!(said == needed && free < needed)
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
    #[test]
    fn what_is_over_a_limit_is_not_said_to_be_over_what_is_free() {
        let check = |limit, expected: &str| {
            let path = Path::new("out").to_owned();
            let error = Error::DiskLimit { path, needed: 10, free: 99, limit };
            let told = format!(
                "`out` needs 10 bytes, which is over {expected}, though the disk has 99 free"
            );
            assert_eq!(error.to_string(), told);
        };
        check(DiskLimit::Quota, "the quota of this user");
        check(DiskLimit::FileSize, "the limit of one file's size");
    }
}
