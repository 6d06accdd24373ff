//! The files of an artifact beside its weights: config, index, and what is copied.

use crate::artifact::INDEX;
use llmopt_checkpoint::{Output as Staged, SideFile, Source, sha256};
use llmopt_run::Error;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Writes an index.
type WriteIndex<'a> = dyn Fn(&mut dyn Write) -> io::Result<()> + 'a;

/// What they will hold.
pub struct FilesBeside<'a> {
    /// What the side files are copied from.
    pub source: &'a Source,
    /// The new `config.json`.
    pub config: Option<&'a [u8]>,
    /// What writes the index, if there is to be one.
    pub index: Option<&'a WriteIndex<'a>>,
    /// Copied as they are.
    pub side_files: &'a [SideFile],
}

impl FilesBeside<'_> {
    /// Writes them, and returns their hashes by name.
    ///
    /// # Errors
    /// If one cannot be read or written.
    pub fn write(&self, staged: &Staged) -> Result<BTreeMap<String, String>, Error> {
        let mut hashes = BTreeMap::new();
        if let Some(config) = self.config {
            staged.write("config.json", config)?;
            hashes.insert("config.json".to_owned(), sha256(config));
        }
        if let Some(write) = self.index {
            hashes.insert(INDEX.to_owned(), staged.write_with(INDEX, write)?);
        }
        for side in self.side_files {
            let hash = staged.copy(&self.source.path_of(&side.name), &side.name)?;
            hashes.insert(side.name.clone(), hash);
        }
        Ok(hashes)
    }
}
