//! A folder for artifacts that do not stay.

use crate::Error;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder that is removed with everything in it when it is dropped. A program that is killed leaves it.
#[derive(Debug)]
pub struct TemporaryFolder(TempDir);

impl TemporaryFolder {
    /// A hidden folder beside `path`, which is there, named after it: on the same disk, and in nobody's way.
    ///
    /// # Errors
    /// If no folder can be made there.
    pub fn beside(path: &Path, what: &str) -> Result<Self, Error> {
        let place = fs::canonicalize(path).map_err(|error| Error::read(path, error))?;
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parent = place.parent().unwrap_or(&place);
        let made = tempfile::Builder::new().prefix(&format!(".{name}.{what}-")).tempdir_in(parent);
        made.map(Self).map_err(|error| Error::write(parent, error))
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_beside_and_goes_with_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let artifact = folder.path().join("out");
        fs::create_dir(&artifact).unwrap();
        let temporary = TemporaryFolder::beside(&artifact.join("."), "rebuild").unwrap();
        fs::write(temporary.join("a"), "a").unwrap();
        let place = temporary.join("");
        assert_eq!(place.parent(), folder.path().canonicalize().ok().as_deref());
        assert!(
            place
                .file_name()
                .is_some_and(|name| { name.to_string_lossy().starts_with(".out.rebuild-") })
        );
        drop(temporary);
        assert!(!place.exists());
        assert!(TemporaryFolder::beside(&folder.path().join("gone"), "rebuild").is_err());
    }
}
