//! `cargo xtask page FILE`: the shell blocks of a page, run as one script, so that what it tells works.

use crate::options::Options;
use crate::repository::root;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

pub(crate) fn run(options: Options) -> Result<()> {
    let pages = options.words()?;
    ensure!(!pages.is_empty(), "which page is missing: `cargo xtask page docs/ci.md`");
    pages.iter().try_for_each(|page| check(&root().join(page)))
}

/// Runs all blocks of a page in the repository, in one shell that stops at the first failure.
fn check(page: &Path) -> Result<()> {
    let text = fs::read_to_string(page).with_context(|| page.display().to_string())?;
    let script = script(&text);
    ensure!(!script.is_empty(), "{} has no shell blocks", page.display());
    let mut shell = Command::new("bash");
    let status = shell.args(["-euxo", "pipefail", "-c", &script]).current_dir(root()).status()?;
    ensure!(status.success(), "a command of {} failed: {status}", page.display());
    Ok(())
}

/// The blocks of a page that are marked as `sh`, one after the other.
fn script(page: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => script.extend([line, "\n"]),
            _ => {}
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shell_blocks_are_run() {
        let page = "a\n```sh\nx=1\n```\nb\n```yaml\nc: 1\n```\n```sh\necho $x\n```\n";
        assert_eq!(script(page), "x=1\necho $x\n");
    }
}
