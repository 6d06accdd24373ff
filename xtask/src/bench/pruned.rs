//! Pruning: its time beside that of a `gptq` sweep of the same model.

use super::checkpoints;
use super::measure::{Samples, run as measured};
use super::subject::Bench;
use super::{total, weights};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// A quarter of a billion parameters, observed on as many tokens as its widest matrix has columns.
const LAYERS: usize = 4;
const WINDOW: usize = 512;
const WINDOWS: usize = 16;

/// `quantize --method gptq` and `prune --axes ffn` on the same windows, in turn.
pub(super) fn pruned(bench: &Bench) -> Result<()> {
    let model = checkpoints::wide(&bench.folder, LAYERS)?;
    let ids =
        checkpoints::random_ids(&bench.folder, WINDOWS * WINDOW, checkpoints::WIDE_VOCABULARY)?;
    let output = bench.folder.join("pruned");
    let mut quantize = bench.quantize(&model, &output, &["--bits", "4", "--method", "gptq"]);
    let mut prune = Command::new(&bench.program);
    prune.args(["prune", "--quiet", "--force", "--sparsity", "0.4", "--axes", "ffn"]);
    prune.arg(&model).arg("--output").arg(&output);
    let mut samples: [Samples; 2] = Default::default();
    for _ in 0..bench.runs {
        for (command, samples) in [&mut quantize, &mut prune].into_iter().zip(&mut samples) {
            samples.push(measured(observing(command, &ids))?);
        }
    }
    let bytes = total(&weights(&model)?)?;
    for (name, samples) in ["quantize --bits 4 --method gptq", "prune --sparsity 0.4 --axes ffn"]
        .into_iter()
        .zip(&samples)
    {
        samples.print(name, bytes);
    }
    let [gptq, ours] = samples.map(|samples| samples.median());
    println!("  pruning takes {:.2} times as long", ours / gptq);
    Ok(())
}

/// The windows and the bounds of both.
fn observing<'c>(command: &'c mut Command, ids: &Path) -> &'c mut Command {
    if command.get_args().all(|argument| argument != "--calibrate") {
        command.arg("--calibrate").arg(ids).args(["--threads", "2", "--memory", "2GiB"]);
        command.args(["--window", &WINDOW.to_string(), "--samples", &WINDOWS.to_string()]);
    }
    command
}
