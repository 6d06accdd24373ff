//! `cargo xtask tidy`: what the compiler does not see.

mod cycles;
mod docs;
mod graph;
mod shares;
mod sources;
mod words;

use crate::options::Options;
use crate::repository;
use anyhow::{Result, ensure};

pub(crate) fn run(mut options: Options) -> Result<()> {
    let only_cycles = options.flag("--cycles");
    options.done()?;
    if only_cycles { cycles::print(&repository::files()?) } else { check() }
}

/// Prints every fault, and fails if there is one.
pub(crate) fn check() -> Result<()> {
    let files = repository::files()?;
    let mut faults = graph::faults()?;
    faults.extend(cycles::faults(&files)?);
    faults.extend(shares::faults(&files)?);
    faults.extend(sources::faults(&files)?);
    faults.extend(docs::faults(&files)?);
    faults.extend(words::faults(&files)?);
    for fault in &faults {
        println!("{fault}");
    }
    ensure!(faults.is_empty(), "{} faults", faults.len());
    println!("tidy: {} files, no faults", files.len());
    Ok(())
}
