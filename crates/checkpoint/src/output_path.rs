//! Where an output goes: its name, the names beside it that a run uses, and what may be replaced.

use crate::file::kind;
use crate::{Error, REPORT_NAME, RequestError};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};

/// A target and its neighbours `NAME.partial` and `NAME.replaced`.
#[derive(Debug)]
pub(crate) struct OutputPath {
    pub(crate) target: PathBuf,
    pub(crate) parent: PathBuf,
    pub(crate) partial: PathBuf,
    /// While the new output is moved in, the old one waits in here as `old`.
    replaced: PathBuf,
}

impl OutputPath {
    pub(crate) fn new(target: &Path) -> Result<Self, Error> {
        let name =
            target.file_name().ok_or_else(|| RequestError::NoName { path: target.to_owned() })?;
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let beside = |ending: &str| {
            let mut name = name.to_owned();
            name.push(ending);
            parent.join(name)
        };
        let (target, partial, replaced) = (beside(""), beside(".partial"), beside(".replaced"));
        Ok(Self { target, parent, partial, replaced })
    }

    /// Refuses to write where `source` is read from, and to remove it.
    pub(crate) fn refuse_overlap(&self, source: &Path) -> Result<(), Error> {
        let inputs = places(source);
        for output in [&self.target, &self.partial, &self.replaced] {
            for place in places(output) {
                let Some(relation) = inputs.iter().find_map(|input| relation(&place, input)) else {
                    continue;
                };
                let (output, input) = (output.clone(), source.to_owned());
                return Err(RequestError::Overlap { output, relation, input }.into());
            }
        }
        Ok(())
    }

    /// Refuses a target that is there, unless it may be replaced: with `force`, a file by a file, and
    /// a folder that holds a model, or nothing, by a folder.
    pub(crate) fn refuse_existing(&self, force: bool, file: bool) -> Result<(), Error> {
        let path = self.target.clone();
        let Ok(facts) = fs::symlink_metadata(&path) else {
            return Ok(());
        };
        if !force {
            return Err(RequestError::Exists { path }.into());
        }
        let found = match file {
            true if facts.is_file() => return Ok(()),
            false if facts.is_dir() && is_model(&path) => return Ok(()),
            false if facts.is_dir() => "a folder that is no model",
            _ => kind(facts.file_type()),
        };
        Err(RequestError::NotReplaceable { path, found }.into())
    }

    /// Whether a replacement was interrupted.
    pub(crate) fn is_interrupted(&self) -> bool {
        fs::symlink_metadata(&self.replaced).is_ok()
    }

    /// Ends an interrupted replacement: the old output returns if the new one had not taken its place,
    /// and is removed if it had.
    pub(crate) fn recover(&self) -> Result<(), Error> {
        if !self.is_interrupted() {
            return Ok(());
        }
        // Whatever else has this name is not ours to remove.
        if names_in(&self.replaced).is_none_or(|names| names.iter().any(|name| name != OLD)) {
            return Err(RequestError::InTheWay { path: self.replaced.clone() }.into());
        }
        let old = self.replaced.join(OLD);
        if old.exists() && fs::symlink_metadata(&self.target).is_err() {
            rename(&old, &self.target)?;
        }
        self.remove_replaced()
    }

    /// Moves the folder `partial` to the target. An old one there steps aside.
    pub(crate) fn swap_in(&self) -> Result<(), Error> {
        if fs::symlink_metadata(&self.target).is_ok() {
            fs::create_dir(&self.replaced).map_err(|error| Error::write(&self.replaced, error))?;
            rename(&self.target, &self.replaced.join(OLD))?;
        }
        rename(&self.partial, &self.target)
    }

    fn remove_replaced(&self) -> Result<(), Error> {
        fs::remove_dir_all(&self.replaced).map_err(|error| Error::write(&self.replaced, error))
    }
}

/// Whether a folder looks like something that a run has written, or is empty.
fn is_model(folder: &Path) -> bool {
    names_in(folder).is_some_and(|names| {
        let is_mark = |name: &std::ffi::OsString| {
            name == "config.json"
                || name == REPORT_NAME
                || Path::new(name).extension() == Some(OsStr::new("safetensors"))
        };
        names.is_empty() || names.iter().any(is_mark)
    })
}

fn names_in(folder: &Path) -> Option<Vec<std::ffi::OsString>> {
    let entries = fs::read_dir(folder).ok()?;
    entries.map(|entry| Some(entry.ok()?.file_name())).collect()
}

/// Whether `path`, which need not be there yet, lies in `folder` or is it, links followed.
pub fn is_inside(path: &Path, folder: &Path) -> bool {
    let folders = places(folder);
    places(path).iter().any(|place| folders.iter().any(|folder| place.starts_with(folder)))
}

/// How an output's place gets in the way of an input's, if it does.
fn relation(output: &Path, input: &Path) -> Option<&'static str> {
    match () {
        () if output == input => Some("is"),
        () if output.starts_with(input) => Some("lies inside"),
        () if input.starts_with(output) => Some("contains"),
        () => None,
    }
}

/// Where a path is, and where it leads, which differ for a link.
fn places(path: &Path) -> [PathBuf; 2] {
    let place = resolved(path);
    [fs::canonicalize(path).unwrap_or_else(|_| place.clone()), place]
}

/// The absolute path without links of something that need not be there yet. What is not there cannot
/// be a link, so its `..` may be taken by the letter.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.components().next_back()) else {
        return absolute;
    };
    let mut base = fs::canonicalize(parent).unwrap_or_else(|_| resolved(parent));
    match name {
        Component::ParentDir => drop(base.pop()),
        name => base.push(name),
    }
    base
}

/// Moves a file or folder within a disk.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|error| Error::write(to, error))
}

/// Waits until the names in a folder are on the disk.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Error::write(folder, error))
}

const OLD: &str = "old";
