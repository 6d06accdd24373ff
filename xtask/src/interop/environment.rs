//! Python environments: outside the repository, each made once for its list of requirements.

use crate::repository::{root, succeed};
use anyhow::{Context, Result, ensure};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Written last, so that an environment that was interrupted is made anew.
const COMPLETE: &str = "complete";

/// What an environment holds.
pub(super) struct Requirements {
    /// What its folder in the cache begins with.
    name: &'static str,
    /// Overrides where the environment is.
    variable: &'static str,
    /// The list, below the root, and its text.
    path: &'static str,
    text: &'static str,
}

/// Transformers and compressed-tensors.
pub(super) const TRANSFORMERS: Requirements = Requirements {
    name: "interop",
    variable: "LLMOPT_INTEROP_ENV",
    path: "xtask/interop/requirements.txt",
    text: include_str!("../../interop/requirements.txt"),
};

/// vLLM for CPUs.
pub(super) const VLLM: Requirements = Requirements {
    name: "interop-vllm",
    variable: "LLMOPT_INTEROP_VLLM_ENV",
    path: "xtask/interop/vllm.txt",
    text: include_str!("../../interop/vllm.txt"),
};

/// An environment that holds its requirements.
pub(super) struct Environment {
    /// Its interpreter.
    pub(super) python: PathBuf,
}

impl Environment {
    /// The environment in `folder`, or where the variable or the user's cache has it; made if need be.
    pub(super) fn of(requirements: &Requirements, folder: Option<PathBuf>) -> Result<Self> {
        let named = folder.or_else(|| env::var_os(requirements.variable).map(PathBuf::from));
        let folder = match named {
            Some(folder) => folder,
            None => requirements.cache()?,
        };
        let inside = folder.starts_with(root());
        ensure!(
            !inside,
            "the environment belongs outside the repository, and {} is in it",
            folder.display()
        );
        let python = folder.join("bin/python");
        let complete = fs::read_to_string(folder.join(COMPLETE));
        if !complete.is_ok_and(|found| found == requirements.text) {
            requirements.make(&folder, &python)?;
        }
        Ok(Self { python })
    }
}

impl Requirements {
    /// A folder of the user's cache that is named by the requirements.
    fn cache(&self) -> Result<PathBuf> {
        let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        let cache = cache.context("no cache folder is known; name one with `--env DIR`")?;
        let hash = llmopt_checkpoint::sha256(self.text.as_bytes());
        Ok(cache.join("llmopt").join(format!("{}-{}", self.name, &hash[..12])))
    }

    fn make(&self, folder: &Path, python: &Path) -> Result<()> {
        println!("making a Python environment in {}", folder.display());
        let begun = Instant::now();
        if folder.exists() {
            let ours = folder.join("pyvenv.cfg").exists();
            ensure!(ours, "{} exists and is no Python environment", folder.display());
            fs::remove_dir_all(folder)?;
        }
        succeed(Command::new("python3").args(["-m", "venv"]).arg(folder))
            .context("`python3` needs its modules `venv` and `pip`")?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
        // Some GB come in: a cache of them beside the environment would be as many again.
        let once = ["--no-cache-dir", "--requirement"];
        succeed(Command::new(python).args(pip).args(once).arg(root().join(self.path)))?;
        fs::write(folder.join(COMPLETE), self.text)?;
        println!("made in {:.0} s", begun.elapsed().as_secs_f64());
        Ok(())
    }
}
