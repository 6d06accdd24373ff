//! The repository that this program was built from, and commands run in it.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The folder for what is made and thrown away; git ignores it.
pub(crate) fn scratch(name: &str) -> PathBuf {
    root().join("target").join(name)
}

/// A command that runs in the root.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// The cargo that runs this.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), arguments)
}

/// Runs `command` with our own output, and fails when it fails.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    ensure!(status.success(), "`{shown}` failed ({status})");
    Ok(())
}

/// What `command` prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.output().with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed no text"))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Builds the release binary and says where it is.
pub(crate) fn release_binary() -> Result<PathBuf> {
    succeed(&mut cargo(&["build", "--release", "--quiet", "--package", "llmopt"]))?;
    let metadata = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let target = metadata["target_directory"].as_str().context("cargo names its folder")?;
    Ok(Path::new(target).join("release").join(format!("llmopt{}", std::env::consts::EXE_SUFFIX)))
}

/// Paths below the root that git tracks or would track, slashes between their parts.
pub(crate) fn files() -> Result<Vec<String>> {
    let mut listing =
        command("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listing = output(&mut listing)?;
    let mut files: Vec<String> = listing.split_terminator('\0').map(str::to_owned).collect();
    files.sort();
    files.dedup();
    files.retain(|path| root().join(path).exists());
    Ok(files)
}

/// The text of the file at `path` below the root.
pub(crate) fn text(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("cannot read `{path}`"))
}
