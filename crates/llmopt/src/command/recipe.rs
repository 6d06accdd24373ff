//! `llmopt recipe`: a recipe to begin with, and the schema of all.

use crate::current::Input;
use crate::failure::{Failure, Refusal};
use crate::flags::{Init, Recipe, RecipeCommand};
use crate::print;
use crate::recipe::{schema, starter};
use std::path::{Path, PathBuf};

pub(super) fn run(flags: &Recipe) -> Result<(), Failure> {
    match &flags.command {
        RecipeCommand::Init(flags) => init(flags),
        RecipeCommand::Schema(_) => schema(),
    }
}

fn init(flags: &Init) -> Result<(), Failure> {
    let console = flags.console.console(false);
    let input = Input::of(flags.model.as_deref(), console)?;
    if !flags.force && flags.output.exists() {
        return Err(Refusal::new(
            format!("`{}` exists", flags.output.display()),
            "`--force` replaces it; `-o FILE` writes another",
        )
        .into());
    }
    let model = llmopt_pipeline::inspect(&input.path)?;
    let path = from(flags.output.parent().unwrap_or(Path::new("")), &input.path);
    let text = starter(&path.to_string_lossy(), &model, flags.purpose);
    llmopt_pipeline::write_file(&flags.output, text.as_bytes())
        .map_err(llmopt_pipeline::Error::from)?;
    print::say(&format!("wrote `{}`", flags.output.display()));
    Ok(())
}

/// `path` as it is called from `folder`, where that lies below or in the current folder.
fn from(folder: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() || folder.as_os_str().is_empty() || folder == Path::new(".") {
        return path.to_owned();
    }
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
