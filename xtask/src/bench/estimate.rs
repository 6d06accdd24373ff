//! Estimates of time beside the time that runs take.

use super::checkpoints::{self, Llama, WIDE_VOCABULARY};
use super::subject::Bench;
use crate::repository::root;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A model, what it is observed and evaluated on, and how many windows of how many tokens.
struct Model {
    name: &'static str,
    path: PathBuf,
    data: PathBuf,
    samples: usize,
    window: usize,
}

/// Every command on every model. Times are those from the first event, which is the estimate, to the end.
pub(super) fn estimate(bench: &Bench) -> Result<()> {
    let output = bench.folder.join("estimated");
    println!(
        "  {:<14}{:<28}{:>10}{:>10}{:>8}{:>8}",
        "model", "command", "estimate", "run", "ratio", "first"
    );
    for model in models(bench)? {
        for options in [
            "quantize MODEL --bits 4",
            "quantize MODEL --bits 4 --method gptq --calibrate",
            "prune MODEL --sparsity 0.3 --axes ffn --calibrate",
            "eval MODEL --text",
        ] {
            let command = model.command(bench, options, &output);
            let Timed { estimate, run, first } = timed(command)?;
            let words: Vec<&str> = options.split(' ').filter(|word| *word != "MODEL").collect();
            let ratio = estimate / run;
            println!(
                "  {:<14}{:<28}{estimate:>8.1} s{run:>8.1} s{ratio:>8.2}{first:>6.1} s",
                model.name,
                words.join(" ").trim_end_matches(" --axes ffn --calibrate"),
            );
        }
    }
    Ok(())
}

fn models(bench: &Bench) -> Result<Vec<Model>> {
    let ids = checkpoints::random_ids(&bench.folder, 1 << 16, WIDE_VOCABULARY)?;
    let small = bench.folder.join("small");
    let shape = Llama { hidden: 512, inter: 1536, layers: 4, vocab: WIDE_VOCABULARY };
    checkpoints::random(&small, shape)?;
    let large = bench.folder.join("large");
    let shape = Llama { hidden: 1024, inter: 4096, layers: 8, vocab: WIDE_VOCABULARY };
    checkpoints::random(&large, shape)?;
    let tiny = root().join("testdata/tiny-llama");
    let text = tiny.join("calibration.txt");
    Ok(vec![
        Model { name: "tiny-llama", path: tiny, data: text, samples: 128, window: 256 },
        Model { name: "17 M", path: small, data: ids.clone(), samples: 32, window: 512 },
        Model { name: "130 M", path: large, data: ids, samples: 10, window: 512 },
    ])
}

impl Model {
    fn command(&self, bench: &Bench, options: &str, output: &Path) -> Command {
        let mut command = Command::new(&bench.program);
        for word in options.split(' ') {
            match word {
                "MODEL" => command.arg(&self.path),
                word => command.arg(word),
            };
        }
        if options.ends_with("--calibrate") || options.ends_with("--text") {
            command.arg(&self.data);
            command.args(["--samples", &self.samples.to_string()]);
            command.args(["--window", &self.window.to_string()]);
        }
        if !options.starts_with("eval") {
            command.args(["--force", "--output"]).arg(output);
        }
        command.arg("--json");
        command
    }
}

/// Seconds: as estimated, as it took, and until the estimate was there.
struct Timed {
    estimate: f64,
    run: f64,
    first: f64,
}

fn timed(mut command: Command) -> Result<Timed> {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let events = BufReader::new(child.stderr.take().context("no standard error")?);
    let (mut estimate, mut last) = (None, String::new());
    for line in events.lines() {
        last = line?;
        let event: Value = serde_json::from_str(&last)?;
        if event["event"] == "estimate" {
            estimate = event["seconds"].as_f64().map(|seconds| (seconds, begun.elapsed()));
        }
    }
    ensure!(child.wait()?.success(), "`{command:?}` failed: {last}");
    let (estimate, first) = estimate.with_context(|| format!("`{command:?}` has no estimate"))?;
    Ok(Timed { estimate, run: (begun.elapsed() - first).as_secs_f64(), first: first.as_secs_f64() })
}
