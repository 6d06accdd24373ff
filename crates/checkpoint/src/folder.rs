//! The names in a folder, in an order that no file system chooses.

use crate::{Error, ModelError};
use std::fs;
use std::path::Path;

/// The names of everything in `folder` that is not hidden, sorted.
pub fn visible_names(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| Error::read(folder, error))? {
        let entry = entry.map_err(|error| Error::read(folder, error))?;
        let name = entry
            .file_name()
            .into_string()
            .map_err(|_| ModelError::NameNotUtf8 { path: entry.path() })?;
        if name.starts_with('.') {
            continue;
        }
        if names.len() == MAX_FILES {
            let folder = folder.to_owned();
            return Err(ModelError::TooManyFiles { folder, limit: MAX_FILES }.into());
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

/// Many times the files of the largest model folder.
pub(crate) const MAX_FILES: usize = 20_000;
