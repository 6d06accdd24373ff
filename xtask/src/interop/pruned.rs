//! Every family pruned along every axis that it has: Transformers loads it and computes our logits.

use super::{Tally, logits};
use crate::repository::{command, output, root};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// What `--only` finds these by.
pub(super) const NAME: &str = "pruned";

/// Axes, the share of the blocks to remove along them, further options, and the seeded checkpoints that
/// lose it.
type Cases = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);
const CASES: &[Cases] = &[
    (
        "ffn",
        "0.25",
        &[],
        &[
            "gemma",
            "gemma2",
            "gemma3",
            "gemma3_text",
            "granite",
            "llama-tied",
            "mistral",
            "mixtral",
            "olmo2",
            "phi3",
            "qwen2",
            "qwen3",
            "qwen3_moe",
        ],
    ),
    ("ffn", "0.27", &[], &["llama"]),
    ("ffn", "0.27", &["--bias"], &["llama"]),
    ("ffn", "0.25", &["--bias"], &["llama-tied", "granite"]),
    ("heads", "0.2", &[], &["gemma2", "gemma3", "gemma3_text", "granite", "llama-tied"]),
    ("heads", "0.33", &[], &["gemma", "mistral", "mixtral", "qwen3"]),
    ("heads", "0.28", &[], &["qwen3_moe"]),
    (
        "layers",
        "0.5",
        &[],
        &[
            "gemma",
            "gemma2",
            "gemma3",
            "gemma3_text",
            "granite",
            "llama",
            "llama-tied",
            "mistral",
            "mixtral",
            "olmo2",
            "phi3",
            "qwen2",
            "qwen3",
        ],
    ),
    ("layers", "0.57", &[], &["qwen3_moe"]),
    ("ffn,layers", "0.57", &[], &["gemma", "qwen2", "mixtral"]),
    (
        "ffn,heads",
        "0.25",
        &[],
        &[
            "gemma",
            "gemma2",
            "gemma3",
            "gemma3_text",
            "granite",
            "llama-tied",
            "mistral",
            "qwen3",
            "qwen3_moe",
        ],
    ),
];

pub(super) fn run(python: &Path, program: &Path, place: &Path, tally: &mut Tally) -> Result<()> {
    let place = place.join(NAME);
    let mut cases = Vec::new();
    for (axes, sparsity, options, families) in CASES {
        let align: &[&str] = if axes.contains("ffn") { &["--align", "8"] } else { &[] };
        for family in *families {
            let name = [&[NAME, family, axes], *options].concat().join(" ");
            let folder = place.join(name.replace(' ', "-"));
            match made(
                program,
                &name,
                family,
                &folder,
                &[&["--axes", axes, "--sparsity", sparsity], align, *options].concat(),
            ) {
                Ok(case) => cases.push(case),
                Err(error) => tally.fail(&name, &error),
            }
        }
    }
    logits::hold(python, logits::SCRIPT, &place, cases, tally)
}

/// Prunes a checkpoint, and evaluates what is left of it.
fn made(
    program: &Path,
    name: &str,
    family: &str,
    folder: &Path,
    options: &[&str],
) -> Result<Value> {
    fs::create_dir_all(folder)?;
    let model = root().join("testdata/families").join(family);
    let (ids, pruned) = (folder.join("seen.safetensors"), folder.join("model"));
    fs::write(&ids, logits::token_file(logits::vocabulary(&model)?, SEEN * WINDOW)?)?;
    let text = |path: &Path| path.display().to_string();
    let (program_path, window) = (text(program), WINDOW.to_string());
    let data = ["--calibrate", &text(&ids), "--window", &window];
    let mut prune = command(&program_path, &["prune", &text(&model), "-q", "-o", &text(&pruned)]);
    output(prune.args(data).args(options))?;
    let before = fs::metadata(model.join("model.safetensors"))?.len();
    let after = fs::metadata(pruned.join("model.safetensors")).context("the weights")?.len();
    ensure!(after < before, "{after} bytes are left of {before}");
    logits::evaluated(program, name, &pruned, folder, (WINDOW, 3))
}

/// Windows that are seen, and their tokens.
const SEEN: usize = 24;
const WINDOW: usize = 83;
