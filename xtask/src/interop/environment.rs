//! The Python environment: outside the repository, made once for each list of requirements.

use crate::repository::{root, succeed};
use anyhow::{Context, Result, ensure};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Overrides where the environment is.
const VARIABLE: &str = "LLMOPT_INTEROP_ENV";

/// Written last, so that an environment that was interrupted is made anew.
const COMPLETE: &str = "complete";

const REQUIREMENTS: &str = include_str!("../../interop/requirements.txt");

/// The interpreter of an environment that holds the requirements.
pub(super) fn python(folder: Option<PathBuf>) -> Result<PathBuf> {
    let folder = match folder.or_else(|| env::var_os(VARIABLE).map(PathBuf::from)) {
        Some(folder) => folder,
        None => cache()?,
    };
    let inside = folder.starts_with(root());
    ensure!(
        !inside,
        "the environment belongs outside the repository, and {} is in it",
        folder.display()
    );
    let python = folder.join("bin/python");
    if fs::read_to_string(folder.join(COMPLETE)).is_ok_and(|found| found == REQUIREMENTS) {
        return Ok(python);
    }
    make(&folder, &python)?;
    Ok(python)
}

/// A folder of the user's cache that is named by the requirements.
fn cache() -> Result<PathBuf> {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let cache = cache.context("no cache folder is known; name one with `--env DIR`")?;
    let hash = llmopt_checkpoint::sha256(REQUIREMENTS.as_bytes());
    Ok(cache.join("llmopt").join(format!("interop-{}", &hash[..12])))
}

fn make(folder: &Path, python: &Path) -> Result<()> {
    println!("making a Python environment in {}", folder.display());
    let begun = Instant::now();
    if folder.exists() {
        let ours = folder.join("pyvenv.cfg").exists();
        ensure!(ours, "{} exists and is no Python environment", folder.display());
        fs::remove_dir_all(folder)?;
    }
    succeed(Command::new("python3").args(["-m", "venv"]).arg(folder))
        .context("`python3` needs its modules `venv` and `pip`")?;
    let list = root().join("xtask/interop/requirements.txt");
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
    // Some GB come in: a cache of them beside the environment would be as many again.
    let once = ["--no-cache-dir", "--requirement"];
    succeed(Command::new(python).args(install).args(once).arg(list))?;
    fs::write(folder.join(COMPLETE), REQUIREMENTS)?;
    println!("made in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}
