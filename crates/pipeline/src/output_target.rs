//! Where an artifact is asked to go.

use crate::default_output::DefaultOutput;
use crate::recipe::Recipe;
use std::path::{Path, PathBuf};

/// Where the artifact goes.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// The path; the input's name with the scheme appended, if there is none. One that ends in a
    /// slash asks for a folder.
    pub output: Option<PathBuf>,
    /// The folder that an output without a path goes to; the input's own, if there is none.
    pub folder: Option<PathBuf>,
    /// Whether an existing output is replaced, once the new one is complete.
    pub force: bool,
    /// A folder for what does not fit in memory while calibrating; the one that the artifact goes to,
    /// if there is none.
    pub scratch: Option<PathBuf>,
}

impl Target {
    /// The name of what is made of `input`, if it is given none.
    pub(crate) fn default_output<'a>(
        &'a self,
        input: &'a Path,
        recipe: &Recipe,
        bare: bool,
    ) -> DefaultOutput<'a> {
        let suffix = format!("-{}", recipe.scheme.name());
        DefaultOutput { input, folder: self.folder.as_deref(), suffix, bare }
    }
}
