//! Single files: opened only when they are regular, read within a limit, written whole or not at all.

use crate::{Error, ModelError, PendingFile};
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// The text of a file of at most `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    String::from_utf8(read_bytes(path, limit)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        ModelError::NotUtf8 { path: path.to_owned(), at }.into()
    })
}

/// The bytes of a file of at most `limit` bytes.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let too_long = |bytes| ModelError::TooLong { path: path.to_owned(), bytes, limit };
    let (file, bytes) = open_regular(path)?;
    if bytes > limit {
        return Err(too_long(bytes).into());
    }
    let mut content = Vec::new();
    // It may have grown since.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(|error| Error::read(path, error))?;
    match content.len() as u64 {
        bytes if bytes > limit => Err(too_long(bytes).into()),
        _ => Ok(content),
    }
}

/// Writes a file beside its place, syncs it, and moves it there, over what may be there.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    PendingFile::create(path)?.publish(bytes)
}

/// Adds to the end of a file, which is made if there is none.
pub fn append_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(|error| Error::write(path, error))
}

/// Opens a regular file, or a link to one, and says how long it is. Opening a pipe would wait for its
/// other end, and opening a device may do anything, so the kind is asked first.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64), Error> {
    regular_bytes(path)?;
    let file = File::open(path).map_err(|error| Error::read(path, error))?;
    let bytes = file.metadata().map_err(|error| Error::read(path, error))?.len();
    Ok((file, bytes))
}

/// The length of a regular file, or of the one that a link leads to.
pub(crate) fn regular_bytes(path: &Path) -> Result<u64, Error> {
    let facts = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && path.is_symlink() => {
            return Err(ModelError::DeadLink { path: path.to_owned() }.into());
        }
        facts => facts.map_err(|error| Error::read(path, error))?,
    };
    if !facts.is_file() {
        let found = kind(facts.file_type());
        return Err(ModelError::NotRegular { path: path.to_owned(), found }.into());
    }
    Ok(facts.len())
}

/// What a file is, in words.
pub(crate) fn kind(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_file() => "a file",
        _ if kind.is_dir() => "a folder",
        _ if kind.is_symlink() => "a link",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_within_their_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        let check = |limit, expected: Result<&str, &str>| {
            let expected =
                expected.map(str::to_owned).map_err(|text| format!("`{}` {text}", path.display()));
            let found = read_text(&path, limit).map_err(|error| error.to_string());
            assert_eq!(found, expected);
        };
        check(5, Err("cannot be read: No such file or directory (os error 2)"));
        write_file(&path, b"12").unwrap();
        write_file(&path, b"12345").unwrap();
        check(5, Ok("12345"));
        check(4, Err("has 5 bytes, and at most 4 are allowed"));
        write_file(&path, b"1\xff").unwrap();
        check(5, Err("is not UTF-8 from its byte 1 on"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_added_comes_after_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary");
        append_file(&path, b"a\n").unwrap();
        append_file(&path, b"b\n").unwrap();
        assert_eq!(read_text(&path, 9).unwrap(), "a\nb\n");
        assert!(append_file(&path.join("x"), b"").is_err());
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let check = |path: &str, found| {
            assert_eq!(
                open_regular(Path::new(path)).unwrap_err().to_string(),
                format!("`{path}` is {found}, expected a regular file")
            );
        };
        check("/", "a folder");
        check("/dev/zero", "a device");
    }
}
