//! A staged output: everything is written to `NAME.partial`, and takes its name only when complete.

use crate::disk::reserve;
use crate::file::open_regular;
use crate::hash::{Hashing, PIECE_BYTES};
use crate::lock::{LOCK, Lock, remove_left};
use crate::output_path::{OutputPath, rename, sync_folder};
use crate::work_folder::remove_folder;
use crate::{Error, Journal, RequestError, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

/// An output that is being written. Dropped, it stays as it is, and the next run can go on.
#[derive(Debug)]
pub struct Output {
    path: OutputPath,
    force: bool,
    file: bool,
    _lock: Lock,
}

/// How an output is to be made.
#[derive(Clone, Copy, Debug)]
pub struct OutputOptions<'a> {
    /// Replace an output that is there, once the new one is complete.
    pub force: bool,
    /// The target is a single file; what else is published is named after it and lies beside it.
    pub file: bool,
    /// What is read meanwhile, and must not be touched.
    pub source: &'a Path,
}

impl Output {
    /// Refuses what [`Output::begin`] would refuse, and makes nothing.
    pub fn check(target: &Path, options: OutputOptions<'_>) -> Result<(), Error> {
        let path = OutputPath::new(target)?;
        path.refuse_overlap(options.source)?;
        remove_left(&path.target)?;
        match path.is_interrupted() {
            true => Ok(()),
            false => path.refuse_existing(options.force, options.file),
        }
    }

    /// Begins, or goes on with, the output `target`. Folders on the way to it are made.
    pub fn begin(target: &Path, options: OutputOptions<'_>) -> Result<Self, Error> {
        Self::check(target, options)?;
        let OutputOptions { force, file, .. } = options;
        let path = OutputPath::new(target)?;
        fs::create_dir_all(&path.parent).map_err(|error| Error::write(&path.parent, error))?;
        let lock = Lock::take(&path.partial)?;
        path.recover()?;
        path.refuse_existing(force, file)?;
        Ok(Self { path, force, file, _lock: lock })
    }

    /// The folder in which everything of the output `target` is written.
    ///
    /// # Errors
    /// If the target has no name.
    pub fn partial_of(target: &Path) -> Result<PathBuf, Error> {
        Ok(OutputPath::new(target)?.partial)
    }

    /// The folder in which everything is written.
    pub fn partial_path(&self) -> &Path {
        &self.path.partial
    }

    /// Whether this is the output `target`.
    pub fn is_for(&self, target: &Path) -> bool {
        OutputPath::new(target).is_ok_and(|path| path.partial == self.path.partial)
    }

    /// Whether an attempt at any other work, which `identity` tells apart, has left something here.
    ///
    /// # Errors
    /// If its journal cannot be read.
    pub fn holds_other_work(&self, identity: &str) -> Result<bool, Error> {
        Journal::is_of_other_work(&self.path.partial.join(JOURNAL), identity)
    }

    /// The journal of this work, with what it says already. An attempt at any other work, which
    /// `identity` tells apart, is emptied out first.
    pub fn journal(&self, identity: &str) -> Result<(Vec<String>, Journal), Error> {
        let path = self.path.partial.join(JOURNAL);
        if let Some(resumed) = Journal::resume(&path, identity)? {
            return Ok(resumed);
        }
        self.keep_only(BTreeSet::new())?;
        Ok((Vec::new(), Journal::start(&path, identity)?))
    }

    /// Removes everything but the files `keep` and the lock, the journal first: it must never tell of what is
    /// no longer here.
    fn keep_only(&self, mut keep: BTreeSet<PathBuf>) -> Result<(), Error> {
        self.remove_journal()?;
        keep.insert(PathBuf::from(LOCK));
        keep_only(&self.path.partial, &keep)
    }

    fn remove_journal(&self) -> Result<(), Error> {
        let journal = self.path.partial.join(JOURNAL);
        if !journal.exists() {
            return Ok(());
        }
        fs::remove_file(&journal).map_err(|error| Error::write(&journal, error))?;
        sync_folder(&self.path.partial)
    }

    /// A file of exactly `bytes` bytes, whose room on the disk is kept. One of that length that is
    /// there keeps its content.
    pub fn create(&self, name: &str, bytes: u64) -> Result<OutFile, Error> {
        let path = self.path_for(name)?;
        if fs::metadata(&path).is_ok_and(|facts| facts.is_file() && facts.len() == bytes) {
            return OutFile::open(path);
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|error| Error::write(&path, error))?;
        if let Err(error) = reserve(&file, &path, bytes) {
            // Whatever was reserved would keep others from their room.
            fs::remove_file(&path).map_err(|error| Error::write(&path, error))?;
            return Err(error);
        }
        Ok(OutFile { path, file, bytes })
    }

    /// A file that is there.
    pub fn open_existing(&self, name: &str) -> Result<OutFile, Error> {
        OutFile::open(self.path_for(name)?)
    }

    /// Writes a whole file.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path_for(name)?;
        fs::write(&path, bytes).map_err(|error| Error::write(&path, error))
    }

    /// Writes a file piece by piece and returns the hash of what was written.
    pub fn write_with(
        &self,
        name: &str,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<String, Error> {
        let path = self.path_for(name)?;
        let failed = |error| Error::write(&path, error);
        let file = File::create(&path).map_err(failed)?;
        let mut out = BufWriter::new(Hashing::new(file));
        content(&mut out).map_err(failed)?;
        let hashing = out.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok(hashing.finish())
    }

    /// Copies the file `from` and returns the hash of what was copied.
    pub fn copy(&self, from: &Path, name: &str) -> Result<String, Error> {
        let path = self.path_for(name)?;
        let (mut input, _) = open_regular(from)?;
        let mut output = File::create(&path).map_err(|error| Error::write(&path, error))?;
        let mut hash = Sha256::new();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = input.read(&mut piece).map_err(|error| Error::read(from, error))?;
            if read == 0 {
                return Ok(hash.finish());
            }
            hash.update(&piece[..read]);
            output.write_all(&piece[..read]).map_err(|error| Error::write(&path, error))?;
        }
    }

    /// Gives the file `from`, which will not be written to any more, another name here: a link where the file
    /// system has such, otherwise a copy.
    pub fn link(&self, from: &Path, name: &str) -> Result<(), Error> {
        let path = self.path_for(name)?;
        if fs::symlink_metadata(&path).is_ok() {
            fs::remove_file(&path).map_err(|error| Error::write(&path, error))?;
        }
        match fs::hard_link(from, &path) {
            Ok(()) => Ok(()),
            Err(_) => self.copy(from, name).map(drop),
        }
    }

    /// Gives the output its name, with the files in `keep` and nothing else, all of them on the disk.
    pub fn publish(self, keep: &[String]) -> Result<(), Error> {
        let paths = keep.iter().map(|name| self.path_for(name)).collect::<Result<Vec<_>, _>>()?;
        for path in &paths {
            sync_file(path)?;
        }
        match self.file {
            true => self.publish_file(keep),
            false => self.publish_folder(keep),
        }
    }

    fn publish_folder(self, keep: &[String]) -> Result<(), Error> {
        self.path.refuse_existing(self.force, false)?;
        // The lock is held until the folder has its name, so that no second run begins in between.
        self.keep_only(keep.iter().map(PathBuf::from).collect())?;
        self.path.swap_in()?;
        let lock = self.path.target.join(LOCK);
        fs::remove_file(&lock).map_err(|error| Error::write(&lock, error))?;
        sync_folder(&self.path.target)?;
        sync_folder(&self.path.parent)?;
        self.path.recover()
    }

    /// The weights come last, and the journal goes just before them.
    fn publish_file(self, keep: &[String]) -> Result<(), Error> {
        let weights = self.path.target.file_name();
        let (weights, beside): (Vec<_>, Vec<_>) =
            keep.iter().partition(|&name| Some(name.as_ref()) == weights);
        self.path.refuse_existing(self.force, true)?;
        for name in beside {
            rename(&self.path_for(name)?, &self.path.parent.join(name))?;
        }
        self.remove_journal()?;
        for name in weights {
            rename(&self.path_for(name)?, &self.path.parent.join(name))?;
        }
        sync_folder(&self.path.parent)?;
        self.discard()
    }

    /// Goes on with what another output has written, in place of its own.
    pub fn with_content_of(self, other: Self) -> Result<Self, Error> {
        let Self { path, force, file, .. } = self;
        fs::remove_dir_all(&path.partial).map_err(|error| Error::write(&path.partial, error))?;
        rename(&other.path.partial, &path.partial)?;
        Ok(Self { path, force, file, _lock: other._lock })
    }

    /// Removes everything that was written.
    pub fn discard(self) -> Result<(), Error> {
        self.keep_only(BTreeSet::new())?;
        let partial = &self.path.partial;
        fs::remove_dir_all(partial).map_err(|error| Error::write(partial, error))
    }

    /// Removes what an interrupted output `target` has left, if anything. A folder in its place that no
    /// output has begun, or that another run writes to, stays.
    pub fn discard_left(target: &Path) -> Result<(), Error> {
        let path = OutputPath::new(target)?;
        if !path.partial.join(LOCK).is_file() {
            return Ok(());
        }
        match Lock::take(&path.partial) {
            Ok(lock) => Self { path, force: false, file: false, _lock: lock }.discard(),
            Err(Error::Request(RequestError::Busy { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Where `name` is written, its folders made.
    fn path_for(&self, name: &str) -> Result<PathBuf, Error> {
        let inner = Path::new(name);
        let plain = inner.components().all(|part| matches!(part, Component::Normal(_)));
        let nested = inner.components().count() > 1;
        if name.is_empty() || !plain || [LOCK, JOURNAL].contains(&name) || (nested && self.file) {
            return Err(RequestError::Name { name: name.to_owned() }.into());
        }
        let path = self.path.partial.join(inner);
        let folder = path.parent().unwrap_or(&self.path.partial);
        fs::create_dir_all(folder).map_err(|error| Error::write(folder, error))?;
        Ok(path)
    }
}

/// A file of an output, written in any order, by any number of threads.
#[derive(Debug)]
pub struct OutFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl OutFile {
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| Error::write(&path, error))?;
        let bytes = file.metadata().map_err(|error| Error::read(&path, error))?.len();
        Ok(Self { path, file, bytes })
    }

    /// The size that it was created with.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes `bytes` from `offset` on. A file never grows.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let end = offset.checked_add(bytes.len() as u64);
        let written = match end.is_some_and(|end| end <= self.bytes) {
            true => self.file.write_all_at(bytes, offset),
            false => Err(io::ErrorKind::InvalidInput.into()),
        };
        written.map_err(|error| Error::write(&self.path, error))
    }

    /// Fills `buffer` with the bytes from `offset` on.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.file.read_exact_at(buffer, offset).map_err(|error| Error::read(&self.path, error))
    }

    /// Waits until everything written is on the disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|error| Error::write(&self.path, error))
    }
}

/// Removes everything from `folder` but the files `keep`, and syncs the folders that stay.
fn keep_only(folder: &Path, keep: &BTreeSet<PathBuf>) -> Result<(), Error> {
    let failed = |error| Error::write(folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = PathBuf::from(entry.file_name());
        let inner: BTreeSet<PathBuf> = keep
            .iter()
            .filter_map(|kept| kept.strip_prefix(&name).ok())
            .map(Path::to_owned)
            .collect();
        let path = entry.path();
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        match (is_folder, inner.is_empty()) {
            (true, true) => remove_folder(&path)?,
            (true, false) => keep_only(&path, &inner)?,
            (false, true) => fs::remove_file(&path).map_err(|error| Error::write(&path, error))?,
            (false, false) => {}
        }
    }
    sync_folder(folder)
}

fn sync_file(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| Error::write(path, error))
}

/// The journal's file. Hidden, so that no side file has its name.
const JOURNAL: &str = ".journal";

#[cfg(test)]
mod tests;
