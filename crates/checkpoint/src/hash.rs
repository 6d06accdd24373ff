//! SHA-256, streamed.

use crate::Error;
use crate::file::open_regular;
use sha2::Digest;
use std::fmt::Write;
use std::io::{self, Read};
use std::path::Path;

/// A hash that grows with what it is shown.
#[derive(Clone, Debug, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// The hash of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows it the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash in lowercase hexadecimal digits.
    pub fn finish(self) -> String {
        self.0.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes any text");
            hex
        })
    }
}

/// A writer that hashes what it passes on.
pub(crate) struct Hashing<W> {
    hash: Sha256,
    out: W,
}

impl<W> Hashing<W> {
    /// Passes on to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self { hash: Sha256::new(), out }
    }

    /// The hash of everything that was written.
    pub(crate) fn finish(self) -> String {
        self.hash.finish()
    }
}

impl<W: io::Write> io::Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The hash of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(bytes);
    hash.finish()
}

/// The hash of a file's content, read in pieces.
pub fn sha256_file(path: &Path) -> Result<String, Error> {
    let (mut file, _) = open_regular(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece).map_err(|error| Error::read(path, error))? {
            0 => return Ok(hash.finish()),
            read => hash.update(&piece[..read]),
        }
    }
}

/// Large enough that the calls do not show, small enough to stay in the cache.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-4's published examples.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const MILLION: &str = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

    #[test]
    fn hashes_are_the_published_ones() {
        assert_eq!(sha256(b""), EMPTY);
        assert_eq!(sha256(b"abc"), ABC);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, vec![b'a'; 1_000_000]).unwrap();
        assert_eq!(sha256_file(&path).unwrap(), MILLION);
    }
}
