//! How fast artifacts decode, beside their original.

use super::checkpoints;
use super::measure::run as measured;
use super::subject::Bench;
use anyhow::{Result, ensure};
use std::process::Command;

/// Half a billion parameters.
const LAYERS: usize = 8;

/// Eight and four bits, head and all, in turn with the original, one sequence and eight, in one thread.
pub(super) fn decode(bench: &Bench) -> Result<()> {
    let model = checkpoints::wide(&bench.folder, LAYERS)?;
    for bits in ["8", "4"] {
        let artifact = bench.folder.join(format!("decoded-{bits}"));
        let options = ["--bits", bits, "--method", "rtn", "--lm-head", "--runtime", "transformers"];
        measured(&mut bench.quantize(&model, &artifact, &options))?;
        for (dtype, activations) in [("f32", "artifact"), ("bf16", "artifact"), ("bf16", "int8")] {
            println!("  {bits} bits, --dtype {dtype} --activations {activations}");
            let mut command = Command::new(&bench.program);
            command.args(["bench", "--quiet", "--threads", "1", "--batch", "1,8"]);
            command.args(["--prompt", "64", "--tokens", "32", "--runs", &bench.runs.to_string()]);
            command.args(["--dtype", dtype, "--activations", activations]);
            command.arg("--against").arg(&model).arg(&artifact);
            ensure!(command.status()?.success(), "`llmopt bench` failed");
        }
    }
    Ok(())
}
