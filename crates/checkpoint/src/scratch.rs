//! A nameless file for numbers that do not fit in memory.

use crate::disk::reserve;
use crate::{Error, free_disk};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file in a folder of the user's choice. It has no name and is gone when the program ends, however
/// it ends.
#[derive(Debug)]
pub struct Scratch {
    file: File,
    folder: PathBuf,
}

impl Scratch {
    /// A scratch file of room for `numbers` in `folder`.
    ///
    /// # Errors
    /// If the folder cannot be written to, or its disk has not that much room.
    pub fn create(folder: &Path, numbers: u64) -> Result<Self, Error> {
        let file = tempfile::tempfile_in(folder).map_err(|error| Error::write(folder, error))?;
        let Some(bytes) = numbers.checked_mul(NUMBER_BYTES as u64) else {
            let (path, free) = (folder.to_owned(), free_disk(folder)?);
            return Err(Error::DiskFull { path, needed: u64::MAX, free });
        };
        reserve(&file, folder, bytes)?;
        Ok(Self { file, folder: folder.to_owned() })
    }

    /// Writes `numbers` from the number `first` of the file on.
    pub fn write(&self, first: u64, numbers: &[f32]) -> Result<(), Error> {
        let mut bytes = [0; PIECE_NUMBERS * NUMBER_BYTES];
        let mut at = first * NUMBER_BYTES as u64;
        for piece in numbers.chunks(PIECE_NUMBERS) {
            let bytes = &mut bytes[..piece.len() * NUMBER_BYTES];
            for (bytes, number) in bytes.chunks_exact_mut(NUMBER_BYTES).zip(piece) {
                bytes.copy_from_slice(&number.to_le_bytes());
            }
            let written = self.file.write_all_at(bytes, at);
            written.map_err(|error| Error::write(&self.folder, error))?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// Fills `numbers` with those from the number `first` of the file on.
    pub fn read(&self, first: u64, numbers: &mut [f32]) -> Result<(), Error> {
        let mut bytes = [0; PIECE_NUMBERS * NUMBER_BYTES];
        let mut at = first * NUMBER_BYTES as u64;
        for piece in numbers.chunks_mut(PIECE_NUMBERS) {
            let bytes = &mut bytes[..piece.len() * NUMBER_BYTES];
            let read = self.file.read_exact_at(bytes, at);
            read.map_err(|error| Error::read(&self.folder, error))?;
            for (number, bytes) in piece.iter_mut().zip(bytes.as_chunks().0) {
                *number = f32::from_le_bytes(*bytes);
            }
            at += bytes.len() as u64;
        }
        Ok(())
    }
}

const NUMBER_BYTES: usize = size_of::<f32>();
/// As many numbers as are converted at a time, on the stack.
const PIECE_NUMBERS: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_across_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let length = PIECE_NUMBERS * 2 + 17;
        let scratch = Scratch::create(folder.path(), length as u64 + 5).unwrap();
        let numbers: Vec<f32> = (0..length).map(|number| number as f32 - 0.5).collect();
        scratch.write(5, &numbers).unwrap();
        let mut found = vec![0.0; length];
        scratch.read(5, &mut found).unwrap();
        assert_eq!(found, numbers);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_disk_without_the_room_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for numbers in [1 << 60, u64::MAX] {
            assert!(matches!(Scratch::create(folder.path(), numbers), Err(Error::DiskFull { .. })));
        }
    }
}
