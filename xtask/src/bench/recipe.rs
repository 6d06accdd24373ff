//! A recipe beside the commands that it stands for: time and bytes read.

use super::checkpoints;
use super::measure::{Sample, Samples, run as measured};
use super::subject::Bench;
use super::{total, weights};
use anyhow::{Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Half a billion parameters.
const LAYERS: usize = 8;
const WINDOW: usize = 256;
/// As many tokens as the widest matrix has columns.
const WINDOWS: usize = 32;
const SPARSITY: &str = "0.2";

/// `run` of a recipe that prunes, quantizes and evaluates, in turn with the three commands.
pub(super) fn recipe(bench: &Bench) -> Result<()> {
    let model = checkpoints::wide(&bench.folder, LAYERS)?;
    let ids =
        checkpoints::random_ids(&bench.folder, WINDOWS * WINDOW, checkpoints::WIDE_VOCABULARY)?;
    let case = Case { bench, model: &model, ids: &ids };
    let (mut whole, mut parts) = (Samples::default(), Samples::default());
    let (mut read, mut read_by_parts) = (0, 0);
    for _ in 0..bench.runs {
        let sample = measured(&mut case.run()?)?;
        read = sample.read;
        whole.push(sample);
        let samples = case.commands().iter_mut().map(measured).collect::<Result<Vec<_>>>()?;
        read_by_parts = samples.iter().map(|sample| sample.read).sum();
        parts.push(together(&samples));
        case.check_equal()?;
    }
    let bytes = total(&weights(&model)?)?;
    println!(
        "  prune {SPARSITY} along ffn, gptq w4a16 g128, eval; {WINDOWS} windows of {WINDOW}; same weights"
    );
    whole.print("llmopt run", bytes);
    parts.print("llmopt prune, quantize, eval", bytes);
    println!(
        "    ratio of medians {:.2}; bytes read {} MB and {} MB: {:.2}",
        whole.median() / parts.median(),
        super::mega(read),
        super::mega(read_by_parts),
        read as f64 / read_by_parts as f64
    );
    Ok(())
}

fn together(samples: &[Sample]) -> Sample {
    Sample {
        time: samples.iter().map(|sample| sample.time).sum(),
        peak: samples.iter().map(|sample| sample.peak).max().unwrap_or(0),
        read: samples.iter().map(|sample| sample.read).sum(),
    }
}

struct Case<'a> {
    bench: &'a Bench,
    model: &'a Path,
    ids: &'a Path,
}

impl Case<'_> {
    fn run(&self) -> Result<Command> {
        let (model, ids) = (self.model.display(), self.ids.display());
        let recipe = format!(
            "model = \"{model}\"\noutput = \"recipe-made\"\nthreads = 2\nmemory = \"2GiB\"\n\
             [calibrate]\ndata = \"{ids}\"\nsamples = {WINDOWS}\nwindow = {WINDOW}\n\
             [[stage]]\nprune = {{ sparsity = {SPARSITY}, axes = [\"ffn\"], align = 128, refine = 0 }}\n\
             [[stage]]\nquantize = {{ bits = 4, method = \"gptq\" }}\n\
             [eval]\ntext = \"{ids}\"\nwindow = {WINDOW}\ndtype = \"bf16\"\ngates = [\"size <= 1GB\"]\n"
        );
        let path = self.bench.folder.join("recipe.toml");
        fs::write(&path, recipe)?;
        let mut command = Command::new(&self.bench.program);
        command.args(["run", "--quiet", "--force"]).arg(path);
        Ok(command)
    }

    fn commands(&self) -> [Command; 3] {
        let folder = &self.bench.folder;
        let (pruned, made) = (folder.join("recipe-pruned"), folder.join("recipe-quantized"));
        let command = |name: &str, model: &Path| {
            let mut command = Command::new(&self.bench.program);
            command.args([name, "--quiet", "--threads", "2", "--memory", "2GiB"]).arg(model);
            command.args(["--window", &WINDOW.to_string(), "--samples", &WINDOWS.to_string()]);
            command
        };
        let mut prune = command("prune", self.model);
        prune.args(["--force", "--sparsity", SPARSITY, "--axes", "ffn", "--align", "128"]);
        prune.args(["--refine", "0"]);
        prune.arg("--calibrate").arg(self.ids).arg("--output").arg(&pruned);
        let mut quantize = command("quantize", &pruned);
        quantize.args(["--force", "--bits", "4", "--method", "gptq"]);
        quantize.arg("--calibrate").arg(self.ids).arg("--output").arg(&made);
        let mut eval = command("eval", &made);
        eval.arg("--against").arg(self.model).arg("--text").arg(self.ids);
        eval.args(["--dtype", "bf16", "--gate", "size <= 1GB"]);
        [prune, quantize, eval]
    }

    /// Both ways make the same weights.
    fn check_equal(&self) -> Result<()> {
        let of = |name: &str| -> Result<Vec<Vec<u8>>> {
            let files = weights(&self.bench.folder.join(name))?;
            Ok(files.iter().map(fs::read).collect::<std::io::Result<_>>()?)
        };
        ensure!(of("recipe-made")? == of("recipe-quantized")?, "the weights differ");
        Ok(())
    }
}
