//! A folder of work under way: made, looked into, and emptied of what is not wanted any more.

use crate::Error;
use std::fs;
use std::path::Path;

/// Makes `folder`, if it is not there, and removes everything in it whose name is not to be kept.
///
/// # Errors
/// If it cannot be made or read, or something in it cannot be removed.
pub fn keep_in_folder(folder: &Path, keeps: impl Fn(&str) -> bool) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|error| Error::write(folder, error))?;
    for entry in fs::read_dir(folder).map_err(|error| Error::read(folder, error))? {
        let entry = entry.map_err(|error| Error::read(folder, error))?;
        let path = entry.path();
        if keeps(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let is_folder = entry.file_type().map_err(|error| Error::read(&path, error))?.is_dir();
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(|error| Error::write(&path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_goes_and_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (work, outside) = (root.path().join("a/work"), root.path().join("outside"));
        keep_in_folder(&work, |_| true).unwrap();
        fs::create_dir_all(work.join("0-prune")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(work.join("1.json"), "{}").unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        std::os::unix::fs::symlink(&outside, work.join("link")).unwrap();
        keep_in_folder(&work, |name| name == "0-prune").unwrap();
        let left: Vec<_> = fs::read_dir(&work).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["0-prune"]);
        assert!(outside.join("kept").is_file());
    }
}
