//! Small model files for the tests of this crate.

use crate::Header;
use llmopt_tensor::{Dtype, TensorMeta};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder that is gone after the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A model with a config and one file that holds `a`, one byte long.
    pub(crate) fn model() -> Self {
        Self::new().with("config.json", "{}").with("model.safetensors", shard(&["a"]))
    }

    pub(crate) fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// An error's text, in which this folder is called `DIR`.
    pub(crate) fn text(&self, error: impl ToString) -> String {
        error.to_string().replace(&*self.path().to_string_lossy(), "DIR")
    }

    /// Every file in the folder, hidden ones too, with its content.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(self.path()).unwrap().to_str().unwrap().to_owned();
                files.insert(name, String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned());
            }
        }
        files
    }
}

/// A safetensors file whose tensors are one byte each: 0, 1, 2, ...
pub(crate) fn shard(tensors: &[&str]) -> Vec<u8> {
    let byte = TensorMeta::new(Dtype::U8, [1]).unwrap();
    let tensors: Vec<_> = tensors.iter().map(|&name| (name.to_owned(), byte.clone())).collect();
    let (mut file, _) = Header::encode(&BTreeMap::new(), &tensors).unwrap();
    file.extend((0..).take(tensors.len()));
    file
}

/// A safetensors file of a header as given, however wrong, and some data.
pub(crate) fn raw_shard(json: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend(json.bytes());
    file.extend(data);
    file
}
