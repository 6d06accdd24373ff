//! `cargo xtask bench`: our side of `docs/benchmarks.md`, as plain text tables.

mod blocks;
mod calibrated;
mod ceiling;
mod checkpoints;
mod decode;
mod estimate;
mod gemm;
mod gram;
mod measure;
mod pruned;
mod recipe;
mod subject;

use crate::options::Options;
use crate::repository::{release_binary, scratch};
use anyhow::{Result, ensure};
use checkpoints::Llama;
use measure::{Sample, Samples, run as measured};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use subject::Bench;

type Part = fn(&Bench) -> Result<()>;

const PARTS: [(&str, Part); 13] = [
    ("speed", speed),
    ("calibrated", calibrated::calibrated),
    ("pruned", pruned::pruned),
    ("recipe", recipe::recipe),
    ("blocks", blocks::blocks),
    ("decode", decode::decode),
    ("estimate", estimate::estimate),
    ("ceiling", ceiling::ceiling),
    ("memory", memory),
    ("inspect", inspect),
    ("start", start),
    ("gemm", gemm::gemm),
    ("gram", gram::gram),
];

pub(crate) fn run(mut options: Options) -> Result<()> {
    let folder = options.value("--dir")?.unwrap_or_else(|| scratch("bench"));
    let runs = options.value("--runs")?.unwrap_or(5);
    ensure!(runs > 0, "`--runs` is at least 1");
    let python = options.value("--python")?;
    let words = options.words()?;
    let unknown = words.iter().find(|word| PARTS.iter().all(|(name, _)| name != word));
    ensure!(unknown.is_none(), "no part `{}`", unknown.map_or("", String::as_str));
    fs::create_dir_all(&folder)?;
    let bench = Bench { program: release_binary()?, folder, runs, python };
    for (name, part) in PARTS {
        if words.is_empty() || words.iter().any(|word| word == name) {
            println!("\n{name}");
            part(&bench)?;
        }
    }
    Ok(())
}

/// Quantizing 1 GB, in turn with the system's own tools on the same bytes.
fn speed(bench: &Bench) -> Result<()> {
    let model = bench.folder.join("1gb");
    checkpoints::random(&model, Llama { hidden: 2048, inter: 5632, layers: 8, vocab: 32_000 })?;
    let schemes: [&[&str]; 3] = [
        &["--bits", "8", "--method", "rtn"],
        &["--bits", "8", "--method", "search"],
        &["--bits", "4", "--group-size", "128", "--method", "search"],
    ];
    for options in schemes {
        let output = bench.folder.join("1gb-quantized");
        let (mut ours, mut tools) = (Samples::default(), Samples::default());
        measured(&mut bench.quantize(&model, &output, options))?;
        for _ in 0..bench.runs {
            ours.push(measured(&mut bench.quantize(&model, &output, options))?);
            tools.push(moved(&weights(&model)?, &weights(&output)?, &bench.folder)?);
        }
        let (bytes_in, bytes_out) = (total(&weights(&model)?)?, total(&weights(&output)?)?);
        println!(
            "  quantize {}: {} MB to {} MB",
            options.join(" "),
            mega(bytes_in),
            mega(bytes_out)
        );
        ours.print("llmopt", bytes_in);
        tools.print("cp, sha256sum, cp, sync, sha256sum", bytes_in);
        println!("    ratio of medians {:.2}", ours.median() / tools.median());
    }
    Ok(())
}

/// The most resident memory for 8 GB under a budget of 256 MiB.
fn memory(bench: &Bench) -> Result<()> {
    let model = bench.folder.join("8gb");
    checkpoints::random(&model, Llama { hidden: 4096, inter: 14_336, layers: 17, vocab: 32_000 })?;
    let output = bench.folder.join("8gb-quantized");
    let bytes = total(&weights(&model)?)?;
    for bits in ["8", "4"] {
        let options = ["--bits", bits, "--memory", "256MiB"];
        let mut samples = Samples::default();
        samples.push(measured(&mut bench.quantize(&model, &output, &options))?);
        println!("  quantize {}: {} MB", options.join(" "), mega(bytes));
        samples.print("llmopt", bytes);
    }
    Ok(fs::remove_dir_all(output)?)
}

/// Reading the headers of 200 shards.
fn inspect(bench: &Bench) -> Result<()> {
    let model = bench.folder.join("200-shards");
    checkpoints::sparse(
        &model,
        Llama { hidden: 16_384, inter: 53_248, layers: 133, vocab: 128_256 },
        200,
    )?;
    let mut samples = Samples::default();
    for _ in 0..=bench.runs {
        let mut command = Command::new(&bench.program);
        samples.push(measured(command.arg("inspect").arg(&model))?);
    }
    samples.warm().print("llmopt inspect", 0);
    Ok(())
}

fn start(bench: &Bench) -> Result<()> {
    let mut samples = Samples::default();
    for _ in 0..=10 * bench.runs {
        samples.push(measured(Command::new(&bench.program).arg("--version"))?);
    }
    samples.warm().print("llmopt --version", 0);
    println!("    the binary has {:.1} MB", fs::metadata(&bench.program)?.len() as f64 / 1e6);
    Ok(())
}

/// What it costs to move and hash the same bytes with the system's own tools.
fn moved(inputs: &[PathBuf], outputs: &[PathBuf], folder: &Path) -> Result<Sample> {
    let copies = folder.join("copies");
    fs::create_dir_all(&copies)?;
    let mut time = Duration::ZERO;
    let mut step = |program: &str, files: &[PathBuf], target: Option<&Path>| -> Result<()> {
        time += measured(Command::new(program).args(files).args(target))?.time;
        Ok(())
    };
    step("cp", inputs, Some(&copies))?;
    step("sha256sum", inputs, None)?;
    step("cp", outputs, Some(&copies))?;
    step("sync", &[], None)?;
    step("sha256sum", outputs, None)?;
    fs::remove_dir_all(copies)?;
    Ok(Sample { time, peak: 0, read: 0 })
}

fn weights(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    Ok(files)
}

fn total(files: &[PathBuf]) -> Result<u64> {
    files.iter().map(|path| Ok(fs::metadata(path)?.len())).sum()
}

fn mega(bytes: u64) -> u64 {
    bytes / 1_000_000
}
