//! What the arithmetic of a run would take at the speed of the kernels, beside what it takes.

use super::checkpoints::{self, Llama, WIDE_VOCABULARY};
use super::subject::Bench;
use crate::repository::{cargo, output};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Commands, and the precision of products that streams go through.
const COMMANDS: [&str; 5] = [
    "quantize MODEL --bits 4 --method gptq --calibrate",
    "quantize MODEL --bits 4 --method qep+cd --calibrate",
    "quantize MODEL --bits 4 --method auto --calibrate",
    "prune MODEL --sparsity 0.3 --axes ffn --calibrate",
    "eval MODEL --dtype bf16 --text",
];

/// Kinds of operations that inputs in bf16 are multiplied for.
const IN_BF16: [&str; 2] = ["products", "sums"];

/// Those that are computed in f32, but for factors, whose sums are kept in f64.
const IN_F32: [&str; 4] = ["attention", "feedback", "factors", "pruned"];

/// Every stage that multiplies, of every command.
pub(super) fn ceiling(bench: &Bench) -> Result<()> {
    let peak = Peak::measured(bench)?;
    println!("  peak on two threads: bf16 {:.0}, f32 {:.0} GFLOP/s", peak.bf16, peak.f32);
    let model = bench.folder.join("large");
    let shape = Llama { hidden: 1024, inter: 4096, layers: 8, vocab: WIDE_VOCABULARY };
    checkpoints::random(&model, shape)?;
    let ids = checkpoints::random_ids(&bench.folder, 1 << 16, WIDE_VOCABULARY)?;
    for command in COMMANDS {
        println!("  {}", command.replace(" MODEL", ""));
        for stage in stages(bench, command, &model, &ids)? {
            stage.print(&peak);
        }
    }
    Ok(())
}

/// GFLOP/s of the fastest kernels with both threads at work.
struct Peak {
    bf16: f64,
    f32: f64,
}

impl Peak {
    fn measured(bench: &Bench) -> Result<Self> {
        let runs = bench.runs.to_string();
        let example =
            ["run", "--release", "--quiet", "--package", "llmopt-linalg", "--example", "gemm"];
        let table = output(cargo(&example).args(["--", "2048", &runs]))?;
        let best = |precision: &str| {
            let lines = table.lines().filter(|line| line.starts_with(precision));
            let rates = lines.filter_map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [.., "2", rate] = words[..] else { return None };
                rate.parse::<f64>().ok()
            });
            rates.max_by(f64::total_cmp).with_context(|| format!("no kernel in {precision}"))
        };
        Ok(Self { bf16: best("bf16")?, f32: best("f32")? })
    }
}

/// A stage that ran.
struct Stage {
    name: String,
    operations: BTreeMap<String, f64>,
    seconds: f64,
}

impl Stage {
    fn print(&self, peak: &Peak) {
        let flops = |kinds: &[&str]| {
            2.0 * kinds.iter().filter_map(|kind| self.operations.get(*kind)).sum::<f64>()
        };
        let (bf16, f32) = (flops(&IN_BF16), flops(&IN_F32));
        let floor = (bf16 / peak.bf16 + f32 / peak.f32) / 1e9;
        if floor < 0.05 {
            return;
        }
        let share = 100.0 * floor / self.seconds;
        println!(
            "    {:<12} bf16 {:>7.2} T, f32 {:>6.2} T, floor {floor:>6.1} s, run {:>6.1} s, {share:>4.0} %",
            self.name,
            bf16 / 1e12,
            f32 / 1e12,
            self.seconds,
        );
    }
}

/// Runs a command, and times its stages.
fn stages(bench: &Bench, options: &str, model: &Path, ids: &Path) -> Result<Vec<Stage>> {
    let mut command = Command::new(&bench.program);
    for word in options.split(' ') {
        match word {
            "MODEL" => command.arg(model),
            word => command.arg(word),
        };
    }
    command.arg(ids).args(["--window", "256", "--samples", "128", "--threads", "2", "--json"]);
    if !options.starts_with("eval") {
        command.args(["--force", "--output"]).arg(bench.folder.join("ceiling"));
    }
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let events = BufReader::new(child.stderr.take().context("no standard error")?);
    let (mut estimate, mut begun, mut stages) = (Value::Null, Instant::now(), Vec::new());
    for line in events.lines() {
        let event: Value = serde_json::from_str(&line?)?;
        match event["event"].as_str() {
            Some("estimate") => estimate = event,
            Some("stage-started") => begun = Instant::now(),
            Some("stage-finished") => {
                let name = event["stage"].as_str().context("a stage has a name")?.to_owned();
                let seconds = begun.elapsed().as_secs_f64();
                stages.push(Stage { operations: operations(&estimate, &name)?, name, seconds });
            }
            _ => {}
        }
    }
    ensure!(child.wait()?.success(), "`{command:?}` failed");
    Ok(stages)
}

/// The operations of a stage, as the estimate counts them.
fn operations(estimate: &Value, stage: &str) -> Result<BTreeMap<String, f64>> {
    let stages = estimate["stages"].as_array().context("an estimate has stages")?;
    let found = stages.iter().find(|one| one["stage"] == stage);
    Ok(found
        .map(|one| serde_json::from_value(one["operations"].clone()))
        .transpose()?
        .unwrap_or_default())
}
