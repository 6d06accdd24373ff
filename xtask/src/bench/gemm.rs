//! The matrix product, beside PyTorch's where a Python that has it is named.

use super::subject::Bench;
use crate::repository::{cargo, command, succeed};
use anyhow::Result;

/// Kernel, threads, and the median of several runs in GFLOP/s.
pub(super) fn gemm(bench: &Bench) -> Result<()> {
    let (size, runs) = ("2048", bench.runs.to_string());
    println!("  n = {size}: kernel, threads, GFLOP/s");
    let example =
        ["run", "--release", "--quiet", "--package", "llmopt-linalg", "--example", "gemm"];
    succeed(cargo(&example).args(["--", size, &runs]))?;
    if let Some(python) = &bench.python {
        succeed(&mut command(python, &["xtask/bench/gemm.py", size, &runs]))?;
    }
    Ok(())
}
