//! What the blocks of a pruned model gain, along the curve of shares.

use super::checkpoints;
use super::subject::Bench;
use crate::repository::{command, succeed};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// Half a billion parameters.
const LAYERS: usize = 8;
const SHARES: [&str; 5] = ["0.1", "0.2", "0.3", "0.4", "0.5"];

/// Dense and pruned blocks in turn, by Transformers. How units are chosen makes no difference here.
pub(super) fn blocks(bench: &Bench) -> Result<()> {
    let Some(python) = &bench.python else {
        println!("  left out: without `--python P`, one that has Transformers");
        return Ok(());
    };
    let model = checkpoints::wide(&bench.folder, LAYERS)?;
    let output = bench.folder.join("blocks");
    let text = |path: &Path| path.display().to_string();
    let runs = bench.runs.to_string();
    for share in SHARES {
        let mut prune = Command::new(&bench.program);
        prune.args(["prune", "--quiet", "--force", "--axes", "ffn", "--sparsity", share]);
        prune.args(["--method", "magnitude", "--no-refit"]);
        succeed(prune.arg(&model).arg("--output").arg(&output))?;
        println!("  {share} of the blocks' parameters removed");
        let arguments = ["xtask/bench/block_speed.py", &text(&model), &text(&output), "2", &runs];
        succeed(&mut command(python, &arguments))?;
    }
    Ok(std::fs::remove_dir_all(output)?)
}
