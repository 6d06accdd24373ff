//! Greedy generation of the trained checkpoints, against Transformers' own.

use super::Tally;
use crate::repository::{command, output, root, succeed};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What `--only` finds these by.
pub(super) const NAME: &str = "generate";

const MODELS: [&str; 2] = ["testdata/tiny-llama", "../shared/models/llama-8m"];
const PROMPTS: [&str; 3] = ["Once upon a time", "The river", " = History = \n In 1886 , the"];
const TOKENS: usize = 64;

pub(super) fn run(python: &Path, program: &Path, place: &Path, tally: &mut Tally) -> Result<()> {
    let mut cases = Vec::new();
    for name in MODELS {
        let model = root().join(name);
        if !model.exists() {
            println!("skipped generate {name}: it is not there");
            continue;
        }
        let tokens = TOKENS.to_string();
        let mut generate = command(&program.display().to_string(), &["generate"]);
        generate.arg(&model).args(PROMPTS).args(["--tokens", &tokens, "--json"]);
        match output(&mut generate) {
            Ok(ours) => cases.push(json!({
                "name": format!("generate {name}"), "model": model, "tokens": TOKENS,
                "ours": serde_json::from_str::<Value>(&ours)?,
            })),
            Err(error) => tally.fail(&format!("generate {name}"), &error),
        }
    }
    let [list, results, errors] = ["cases.json", "results.json", "stderr.txt"]
        .map(|name| place.join(format!("{NAME}-{name}")));
    fs::write(&list, Value::from(cases).to_string())?;
    let mut compare = Command::new(python);
    compare.arg(root().join("xtask/interop/generate.py")).args([&list, &results]);
    succeed(compare.stderr(fs::File::create(&errors)?))
        .with_context(|| format!("see {}", errors.display()))?;
    tally.add(&results)
}
