//! Chat templates and tokenizers: the same strings and ids as Transformers'.
//!
//! `templates.py` writes the cases and says what Transformers makes of them; in between, an example of
//! the text crate renders and tokenizes.

use super::Tally;
use crate::repository::{cargo, root, succeed};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What `--only` finds these by.
pub(super) const NAME: &str = "templates";

pub(super) fn run(python: &Path, place: &Path, tally: &mut Tally) -> Result<()> {
    let [cases, ours, results] = ["cases.json", "ours.json", "results.json"]
        .map(|name| place.join(format!("{NAME}-{name}")));
    let script = root().join("xtask/interop/templates.py");
    let errors = place.join(format!("{NAME}-stderr.txt"));
    let explain = || format!("see {}", errors.display());
    let mut write = Command::new(python);
    write.arg(&script).arg("cases").arg(&cases).stderr(fs::File::create(&errors)?);
    succeed(&mut write).with_context(explain)?;
    let mut render = cargo(&["run", "--quiet", "--package", "llmopt-text", "--example", "render"]);
    render.stdin(fs::File::open(&cases)?).stdout(fs::File::create(&ours)?);
    succeed(&mut render)?;
    let mut compare = Command::new(python);
    compare.arg(&script).arg("compare").args([&cases, &ours, &results]);
    succeed(compare.stderr(fs::File::create(&errors)?)).with_context(explain)?;
    tally.add(&results)
}
