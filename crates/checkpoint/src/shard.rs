//! One safetensors file, open for positioned reads.

use crate::file::open_regular;
use crate::hash::PIECE_BYTES;
use crate::header::MAX_HEADER_BYTES;
use crate::{Error, Header, HeaderEntry, HeaderError, Sha256};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A safetensors file of a model.
#[derive(Debug)]
pub struct Shard {
    /// Its file name.
    pub name: String,
    /// What it holds.
    pub header: Header,
    /// Where the data begin: the header's length, its JSON and the eight bytes that state it.
    pub header_bytes: u64,
    /// The size of the whole file.
    pub bytes: u64,
    path: PathBuf,
    file: File,
}

impl Shard {
    /// Opens `name` in `folder` and reads its header.
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Self, Error> {
        let path = folder.join(name);
        let (file, bytes) = open_regular(&path)?;
        let read = |at, buffer: &mut [u8]| {
            file.read_exact_at(buffer, at).map_err(|error| Error::read(&path, error))
        };
        let refused = |error| Error::Header { file: path.clone(), error };

        let Some(rest) = bytes.checked_sub(LENGTH_BYTES) else {
            return Err(refused(HeaderError::TooShort { bytes }));
        };
        let mut length = [0; 8];
        read(0, &mut length)?;
        let length = header_length(length, rest).map_err(refused)?;
        let mut json = vec![0; length];
        read(LENGTH_BYTES, &mut json)?;
        let header = Header::parse(&json, rest - length as u64).map_err(refused)?;
        let header_bytes = LENGTH_BYTES + length as u64;
        Ok(Self { name: name.to_owned(), header, header_bytes, bytes, path, file })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When the file was last changed: nanoseconds of the system's clock, to tell versions apart.
    pub fn modified(&self) -> Result<u128, Error> {
        let time = self.file.metadata().and_then(|facts| facts.modified());
        let time = time.map_err(|error| Error::read(&self.path, error))?;
        Ok(time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos()))
    }

    /// Fills `buffer` with the bytes that begin at `offset` of the file.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.file.read_exact_at(buffer, offset).map_err(|error| Error::read(&self.path, error))
    }

    /// Fills `buffer` with the bytes `range` of a tensor of this file.
    pub fn read_tensor(
        &self,
        entry: &HeaderEntry,
        range: Range<u64>,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let requested = range.end.checked_sub(range.start);
        if requested != Some(buffer.len() as u64) || range.end > entry.meta.bytes() {
            return Err(Error::read(&self.path, io::ErrorKind::InvalidInput.into()));
        }
        self.read_at(self.header_bytes + entry.begin + range.start, buffer)
    }

    /// The hash of the whole file.
    pub fn sha256(&self) -> Result<String, Error> {
        let mut hash = Sha256::new();
        let mut piece = vec![0; PIECE_BYTES];
        for offset in (0..self.bytes).step_by(PIECE_BYTES) {
            let length = (self.bytes - offset).min(PIECE_BYTES as u64) as usize;
            self.read_at(offset, &mut piece[..length])?;
            hash.update(&piece[..length]);
        }
        Ok(hash.finish())
    }
}

/// The header's length, once it is known to be bearable and inside the file.
fn header_length(stated: [u8; 8], rest: u64) -> Result<usize, HeaderError> {
    if &stated == b"version " {
        return Err(HeaderError::LfsPointer);
    }
    match u64::from_le_bytes(stated) {
        length if length > MAX_HEADER_BYTES => Err(HeaderError::TooLong { length }),
        length if length > rest => Err(HeaderError::BeyondFile { length, rest }),
        length => Ok(length as usize),
    }
}

const LENGTH_BYTES: u64 = size_of::<u64>() as u64;
