//! `cargo xtask ci`: everything that must hold before a change lands, in the order of cost.

use crate::options::Options;
use crate::repository::{cargo, succeed};
use crate::{fuzz, generate, tidy};
use anyhow::{Context, Result};
use std::process::Command;
use std::time::{Duration, Instant};

/// Crates whose loops the optimizer rewrites: their tests run optimized as well.
const KERNELS: [&str; 7] = [
    "llmopt-tensor",
    "llmopt-linalg",
    "llmopt-scheme",
    "llmopt-codec",
    "llmopt-quant",
    "llmopt-prune",
    "llmopt-eval",
];

/// Long enough to meet every mutation of every target many times.
const FUZZ: Duration = Duration::from_secs(20);

pub(crate) fn run(mut options: Options) -> Result<()> {
    let without_tests = options.flag("--without-tests");
    options.done()?;
    step("format", || succeed(&mut cargo(&["fmt", "--all", "--check"])))?;
    step("tidy", tidy::check)?;
    step("gen --check", generate::check)?;
    step("clippy", || succeed(&mut clippy()))?;
    if !without_tests {
        step("tests", || succeed(&mut cargo(&["test", "--workspace"])))?;
    }
    step("kernel tests, optimized", || succeed(&mut kernel_tests()))?;
    step("documentation", || succeed(&mut documentation()))?;
    step("fuzz", || fuzz::round(FUZZ))
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("== {name}");
    let begun = Instant::now();
    work().with_context(|| name.to_owned())?;
    println!("== {name}: passed in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

fn clippy() -> Command {
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"])
}

fn kernel_tests() -> Command {
    let packages = KERNELS.iter().flat_map(|name| ["--package", name]);
    let arguments: Vec<&str> = ["test", "--release", "--lib"].into_iter().chain(packages).collect();
    cargo(&arguments)
}

fn documentation() -> Command {
    let mut command =
        cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
    command.env("RUSTDOCFLAGS", "--deny warnings");
    command
}
