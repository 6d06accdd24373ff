//! Sums of products of activations, and the Cholesky factor of what they sum to.

use super::subject::Bench;
use crate::repository::{cargo, succeed};
use anyhow::Result;

/// What, order, and the median of several runs in seconds and in GFLOP/s.
pub(super) fn gram(bench: &Bench) -> Result<()> {
    let (rows, runs) = ("4096", bench.runs.to_string());
    println!("  {rows} rows: what, order, seconds, GFLOP/s");
    for order in ["2048", "8192"] {
        let example =
            ["run", "--release", "--quiet", "--package", "llmopt-linalg", "--example", "gram"];
        succeed(cargo(&example).args(["--", order, rows, &runs]))?;
    }
    Ok(())
}
