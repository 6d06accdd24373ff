//! A folder of work under way: made, looked into, and emptied of what is not wanted any more.

use crate::Error;
use crate::output_path::{rename, sync_folder};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Makes `folder`, if it is not there, and removes everything in it whose name is not to be kept. What is
/// removed does not come back after a loss of power.
///
/// # Errors
/// If it cannot be made or read, or something in it cannot be removed.
pub fn keep_in_folder(folder: &Path, keeps: impl Fn(&str) -> bool) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|error| Error::write(folder, error))?;
    let mut removes = false;
    for entry in fs::read_dir(folder).map_err(|error| Error::read(folder, error))? {
        let entry = entry.map_err(|error| Error::read(folder, error))?;
        let path = entry.path();
        if keeps(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let is_folder = entry.file_type().map_err(|error| Error::read(&path, error))?.is_dir();
        match is_folder {
            true => remove_folder(&path)?,
            false => fs::remove_file(&path).map_err(|error| Error::write(&path, error))?,
        }
        removes = true;
    }
    if removes { sync_folder(folder) } else { Ok(()) }
}

/// Removes a folder, of which no part is ever found under its name: it steps aside first. What another
/// attempt has left aside goes, too.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), Error> {
    let aside = folder.with_file_name(ASIDE);
    remove_all(&aside)?;
    if folder != aside {
        rename(folder, &aside)?;
        folder.parent().map_or(Ok(()), sync_folder)?;
        remove_all(&aside)?;
    }
    Ok(())
}

/// Removes a folder that need not be there.
fn remove_all(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::write(folder, error)),
        _ => Ok(()),
    }
}

/// The name of a folder that is being removed. Hidden, so that nothing else has it.
const ASIDE: &str = ".removed";

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

    #[test]
    fn no_part_of_a_removed_folder_is_found_under_its_name() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("1-quantize");
        for number in 0..500 {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(number.to_string()), "").unwrap();
        }
        // Left by another attempt.
        fs::create_dir_all(root.path().join(ASIDE).join("old")).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while let Ok(names) = fs::read_dir(&folder) {
                    let count = names.count();
                    assert!(count == 500 || !folder.exists(), "{count} are left");
                }
            });
            keep_in_folder(root.path(), |_| false).unwrap();
        });
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
