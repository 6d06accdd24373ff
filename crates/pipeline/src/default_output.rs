//! The name of an output that was given none: the input's, with what was done to it.

use llmopt_run::Error;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// An output whose path was left to the program.
pub(crate) struct DefaultOutput<'a> {
    /// The model's folder or file.
    pub(crate) input: &'a Path,
    /// The folder that the output goes to; the one that holds the input, if there is none.
    pub(crate) folder: Option<&'a Path>,
    /// What was done, such as `-w8a16`.
    pub(crate) suffix: String,
    /// Whether a bare file comes out.
    pub(crate) bare: bool,
}

impl DefaultOutput<'_> {
    /// `NAME-w8a16` or `NAME-w8a16.safetensors`, beside the input. What is made of a snapshot in a cache of
    /// the Hugging Face hub is no part of that cache, and a commit says nothing to people: it is called
    /// after the repository and goes to the current folder.
    ///
    /// # Errors
    /// The current folder lies in that cache as well.
    pub(crate) fn path(&self) -> Result<PathBuf, Error> {
        let Some(repository) = CachedRepository::of(self.input) else { return Ok(self.beside()) };
        let folder = self.folder.unwrap_or(Path::new(""));
        if absolute(&Path::new(".").join(folder)).starts_with(&repository.folder) {
            return Err(inside_cache(&repository));
        }
        Ok(folder.join(self.called_after(&repository.name)))
    }

    fn beside(&self) -> PathBuf {
        let absolute = absolute(self.input);
        let is_file = absolute.extension() == Some(OsStr::new("safetensors"));
        let stem = if is_file { absolute.file_stem() } else { absolute.file_name() };
        let name = self.called_after(stem.unwrap_or_default());
        match self.folder {
            Some(folder) => folder.join(name),
            None if self.input.file_name().is_some() => self.input.with_file_name(name),
            // `.` has no name of its own to replace.
            None if self.input == Path::new(".") => Path::new("..").join(name),
            None => absolute.with_file_name(name),
        }
    }

    fn called_after(&self, stem: &OsStr) -> OsString {
        let mut name = stem.to_owned();
        name.push(&self.suffix);
        if self.bare {
            name.push(".safetensors");
        }
        name
    }
}

/// The repository that `model` is a snapshot of, without its owner, if it lies in a cache of the Hugging
/// Face hub.
pub fn cached_repository(model: &Path) -> Option<String> {
    CachedRepository::of(model).map(|repository| repository.name.to_string_lossy().into_owned())
}

/// A repository in a cache of the hub.
struct CachedRepository {
    /// `.../models--OWNER--NAME`
    folder: PathBuf,
    name: OsString,
}

impl CachedRepository {
    /// The one that holds `model`, which is `models--OWNER--NAME/snapshots/COMMIT` or a file in there.
    fn of(model: &Path) -> Option<Self> {
        let absolute = absolute(model);
        let is_snapshots = |folder: &&Path| folder.file_name() == Some(OsStr::new("snapshots"));
        let folder = absolute.ancestors().skip(1).take(2).find(is_snapshots)?.parent()?;
        // Names of repositories are ASCII.
        let (_, name) =
            folder.file_name()?.to_str()?.strip_prefix("models--")?.rsplit_once("--")?;
        Some(Self { folder: folder.to_owned(), name: name.into() })
    }
}

fn inside_cache(repository: &CachedRepository) -> Error {
    Error::RefusedWithHint {
        what: format!(
            "the current folder lies in the cache of the Hugging Face hub, in `{}`: an artifact is no \
             part of a cache",
            repository.folder.display()
        ),
        hint: "`-o PATH` says where it goes".to_owned(),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(input: &Path, folder: Option<&Path>, bare: bool) -> Result<PathBuf, Error> {
        DefaultOutput { input, folder, suffix: "-w8a16".to_owned(), bare }.path()
    }

    #[test]
    fn outputs_lie_beside_their_input_and_bear_its_name() {
        let check = |input: &str, bare, expected: &str| {
            assert_eq!(
                named(Path::new(input), None, bare).unwrap(),
                Path::new(expected),
                "{input}"
            );
        };
        check("Llama-8B", false, "Llama-8B-w8a16");
        check("models/Llama-8B/", false, "models/Llama-8B-w8a16");
        // What follows a dot in a folder's name is part of it.
        check("Llama-3.1-8B", false, "Llama-3.1-8B-w8a16");
        check("model.safetensors", true, "model-w8a16.safetensors");
        check("/data/model.safetensors", false, "/data/model-w8a16");
        let here = std::env::current_dir().unwrap();
        let name = here.file_name().unwrap().to_str().unwrap();
        check(".", false, &format!("../{name}-w8a16"));
        check("./", false, &format!("../{name}-w8a16"));
    }

    #[test]
    fn a_folder_to_go_to_comes_first() {
        let found = named(Path::new("model.safetensors"), Some(Path::new("..")), true);
        assert_eq!(found.unwrap(), Path::new("../model-w8a16.safetensors"));
    }

    #[test]
    fn snapshots_are_called_after_their_repository() {
        let snapshot = Path::new("/hub/models--org--Tiny--Llama-1B/snapshots/0a1b2c");
        let check = |input: &Path, bare, expected: &str| {
            assert_eq!(named(input, None, bare).unwrap(), Path::new(expected));
        };
        check(snapshot, false, "Llama-1B-w8a16");
        check(&snapshot.join("model.safetensors"), true, "Llama-1B-w8a16.safetensors");
        let elsewhere = named(snapshot, Some(Path::new("/hub/models--org--Tiny--Llama-1B")), false);
        assert!(matches!(elsewhere, Err(Error::RefusedWithHint { .. })), "{elsewhere:?}");
        // No layout of the hub's.
        check(Path::new("/data/snapshots/0a1b2c"), false, "/data/snapshots/0a1b2c-w8a16");
        assert_eq!(cached_repository(snapshot).as_deref(), Some("Llama-1B"));
    }

    #[cfg(unix)]
    #[test]
    fn names_keep_bytes_that_are_no_text() {
        use std::os::unix::ffi::OsStrExt;
        let input = Path::new(OsStr::from_bytes(b"caf\xe9"));
        let expected = Path::new(OsStr::from_bytes(b"caf\xe9-w8a16"));
        assert_eq!(named(input, None, false).unwrap(), expected);
    }
}
