//! The model that a folder holds, where a command was given none.

use llmopt_checkpoint::visible_names;
use llmopt_run::Error;
use std::path::{Path, PathBuf};

/// What a folder is, or holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InFolder {
    /// It is a model's folder: it holds a config and weights.
    Model,
    /// It holds one `.safetensors` file, and no config.
    LoneFile(PathBuf),
    /// Neither.
    Neither {
        /// Whether it holds a `config.json`.
        config: bool,
        /// How many `.safetensors` files it holds.
        files: usize,
    },
}

/// Looks for a model in `folder`, by the names in it alone.
///
/// # Errors
/// If the folder cannot be read.
pub fn model_in(folder: &Path) -> Result<InFolder, Error> {
    let names = visible_names(folder)?;
    let config = names.iter().any(|name| name == "config.json");
    let files: Vec<&String> = names.iter().filter(|name| name.ends_with(".safetensors")).collect();
    Ok(match (config, files.as_slice()) {
        (true, [_, ..]) => InFolder::Model,
        (false, [file]) => InFolder::LoneFile(folder.join(file)),
        (config, files) => InFolder::Neither { config, files: files.len() },
    })
}
