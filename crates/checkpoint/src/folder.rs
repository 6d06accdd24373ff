//! The names in a folder, in an order that no file system chooses.

use crate::file::kind;
use crate::{Error, ModelError};
use std::fs;
use std::path::Path;

/// The names of everything in `folder` that is not hidden, sorted.
pub fn visible_names(folder: &Path) -> Result<Vec<String>, Error> {
    names(folder, |name| !name.starts_with('.'))
}

/// Every file in `folder` and the folders in it, hidden ones too, by its path with `/` between folders; sorted folder by
/// folder, as components of a path compare. What lies at one of the paths `passed_over` is not looked at.
///
/// # Errors
/// If something is neither a file nor a folder: a link leads elsewhere, and is not followed.
pub fn all_files(folder: &Path, passed_over: &[String]) -> Result<Vec<String>, Error> {
    let mut files = Vec::new();
    collect(folder, "", 0, passed_over, &mut files)?;
    Ok(files)
}

fn collect(
    root: &Path,
    inside: &str,
    depth: usize,
    passed_over: &[String],
    files: &mut Vec<String>,
) -> Result<(), Error> {
    let folder = root.join(inside);
    if depth > MAX_DEPTH {
        return Err(ModelError::TooDeep { folder, limit: MAX_DEPTH }.into());
    }
    for name in names(&folder, |_| true)? {
        let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
        if passed_over.contains(&path) {
            continue;
        }
        let place = root.join(&path);
        let facts = fs::symlink_metadata(&place).map_err(|error| Error::read(&place, error))?;
        if facts.is_dir() {
            collect(root, &path, depth + 1, passed_over, files)?;
        } else if !facts.is_file() {
            let found = kind(facts.file_type());
            return Err(ModelError::NotRegular { path: place, found }.into());
        } else if files.len() == MAX_FILES {
            let folder = root.to_owned();
            return Err(ModelError::TooManyFiles { folder, limit: MAX_FILES }.into());
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The names in a folder that are wanted, sorted.
fn names(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| Error::read(folder, error))? {
        let entry = entry.map_err(|error| Error::read(folder, error))?;
        let name = entry
            .file_name()
            .into_string()
            .map_err(|_| ModelError::NameNotUtf8 { path: entry.path() })?;
        if !wanted(&name) {
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

const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_folder_by_folder_and_links_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in ["a.txt", "a/b", "a/.c", ".hidden", ".git/HEAD", "b/.git"] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), path).unwrap();
        }
        let files = |passed_over: &[&str]| {
            let passed_over: Vec<String> = passed_over.iter().map(ToString::to_string).collect();
            all_files(root, &passed_over)
        };
        // Components compare: `a/b` comes before `a.txt`, though `/` comes after `.`.
        assert_eq!(files(&[".git", "a/b"]).unwrap(), [".hidden", "a/.c", "a.txt", "b/.git"]);
        std::os::unix::fs::symlink(root.join("a.txt"), root.join("link")).unwrap();
        let error = files(&[]).unwrap_err().to_string();
        let expected =
            format!("`{}` is a link, expected a regular file", root.join("link").display());
        assert_eq!(error, expected);
        assert_eq!(files(&["link"]).unwrap().len(), 6);
    }
}
