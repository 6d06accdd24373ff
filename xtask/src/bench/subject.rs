//! What is measured, and with what.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What every part needs to know.
pub(super) struct Bench {
    pub(super) program: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) runs: usize,
    /// A Python that has PyTorch, to measure beside us.
    pub(super) python: Option<String>,
}

impl Bench {
    pub(super) fn quantize(&self, model: &Path, output: &Path, options: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["quantize", "--quiet", "--force"]).args(options);
        command.arg(model).arg("--output").arg(output);
        command
    }
}
