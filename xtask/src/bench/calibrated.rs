//! Calibrated quantization: how time and memory grow with blocks, tokens and threads.

use super::checkpoints;
use super::measure::{Samples, run as measured};
use super::subject::Bench;
use super::{total, weights};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// A checkpoint of so many layers, observed on so many windows, with so many threads.
struct Case {
    layers: usize,
    windows: usize,
    threads: usize,
}

/// The case that all others differ from in one thing: 0.5 billion parameters, few tokens.
const BASE: Case = Case { layers: 8, windows: 8, threads: 2 };
const CASES: [Case; 4] =
    [BASE, Case { layers: 4, ..BASE }, Case { windows: 4, ..BASE }, Case { threads: 1, ..BASE }];

const WINDOW: usize = 512;

/// `quantize --method gptq` under 1 GiB, the cases in turn.
pub(super) fn calibrated(bench: &Bench) -> Result<()> {
    let tokens = CASES.iter().map(|case| case.windows).max().unwrap_or(0) * WINDOW;
    let ids = checkpoints::random_ids(&bench.folder, tokens, checkpoints::WIDE_VOCABULARY)?;
    let mut samples: [Samples; CASES.len()] = Default::default();
    for _ in 0..bench.runs {
        for (case, samples) in CASES.iter().zip(&mut samples) {
            samples.push(measured(&mut case.command(bench, &ids)?)?);
        }
    }
    println!("  quantize --bits 4 --group-size 128 --method gptq --memory 1GiB");
    for (case, samples) in CASES.iter().zip(&samples) {
        let Case { layers, windows, threads } = case;
        let name = format!("{layers} layers, {windows} x {WINDOW}, {threads} threads");
        samples.print(&name, total(&weights(&case.model(bench)?)?)?);
    }
    Ok(())
}

impl Case {
    fn model(&self, bench: &Bench) -> Result<PathBuf> {
        checkpoints::wide(&bench.folder, self.layers)
    }

    fn command(&self, bench: &Bench, ids: &Path) -> Result<std::process::Command> {
        let output = bench.folder.join("calibrated-quantized");
        let options =
            ["--bits", "4", "--group-size", "128", "--method", "gptq", "--memory", "1GiB"];
        let mut command = bench.quantize(&self.model(bench)?, &output, &options);
        command.arg("--calibrate").arg(ids).args(["--window", &WINDOW.to_string()]);
        command.args(["--samples", &self.windows.to_string()]);
        command.args(["--threads", &self.threads.to_string()]);
        Ok(command)
    }
}
