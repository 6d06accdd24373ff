//! `cargo xtask interop --vllm`: what vLLM loads on a CPU, against the rules of `--runtime vllm-cpu`.
//!
//! A scheme that the rules allow must load and speak as its dense twin does; one that they refuse is made
//! for another runtime, and vLLM must refuse it too. It must refuse experts on a machine without AMX, which
//! their kernels need and no rule can see.

use super::environment::{Environment, VLLM};
use super::{Tally, logits};
use crate::families;
use crate::repository::root;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// What every model is quantized with.
const SCHEMES: &[&[&str]] = &[
    &["--scheme", "w4a16"],
    &["--scheme", "w4a16", "--group-size", "32"],
    &["--scheme", "w4a16", "--group-size", "channel"],
    &["--scheme", "w4a16", "--asymmetric"],
    &["--scheme", "w8a8"],
    &["--scheme", "fp8"],
    &["--scheme", "w8a16"],
];

/// What the first model is quantized with besides.
const MORE: &[&[&str]] = &[
    &["--scheme", "w4a16", "--asymmetric", "--group-size", "channel"],
    &["--scheme", "w4a16", "--lm-head"],
    &["--scheme", "w8a16", "--asymmetric"],
    &["--scheme", "w8a16", "--embeddings"],
    &["--scheme", "w2a16"],
    &["--scheme", "w3a16"],
    &["--scheme", "w5a16"],
    &["--scheme", "w6a16"],
    &["--scheme", "w7a16"],
    &["--scheme", "fp8-block"],
];

/// The runtime whose rules are held against vLLM, and those that its artifacts are made for otherwise.
const RUNTIME: &str = "vllm-cpu";
const OTHERS: [&str; 2] = ["vllm", "transformers"];

pub(super) fn run(
    environment: Option<PathBuf>,
    only: Option<&str>,
    program: &Path,
    place: &Path,
    tally: &mut Tally,
) -> Result<()> {
    let python = Environment::of(&VLLM, environment)?.python;
    let mut cases = Vec::new();
    for (name, model) in models(place)? {
        let more = MORE.iter().filter(|_| name == TRAINED);
        for options in SCHEMES.iter().chain(more) {
            let case = format!("vllm {name} {}", words(options));
            if only.is_some_and(|only| !case.contains(only)) {
                continue;
            }
            match made(program, &model, options, &place.join(case.replace(' ', "-"))) {
                Ok(found) => cases.push(found.on_this_machine(&name).named(&case, options)),
                Err(error) => tally.fail(&case, &error),
            }
        }
    }
    logits::hold(&python, "vllm_cpu.py", place, cases, tally)
}

const TRAINED: &str = "tiny-llama";
const WITH_EXPERTS: &str = "mixtral-wide";

fn has_amx() -> bool {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    processor.split_whitespace().any(|flag| flag == "amx_tile")
}

/// A trained model, and seeded ones with heads that vLLM has kernels for: one whose file holds q, k and v,
/// and gate and up, as one matrix each, and one with experts.
fn models(place: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut models = vec![(TRAINED.to_owned(), root().join("testdata").join(TRAINED))];
    for folder in families::write_with_wide_heads(place)? {
        let name = folder.file_name().context("a name")?.to_string_lossy().into_owned();
        models.push((name, folder));
    }
    Ok(models)
}

fn words(options: &[&str]) -> String {
    let options = options.iter().map(|option| option.trim_start_matches('-'));
    options.filter(|word| !["scheme", "group-size"].contains(word)).collect::<Vec<_>>().join(" ")
}

/// An artifact, and its twin where the rules allow it.
struct Made {
    artifact: PathBuf,
    twin: Option<PathBuf>,
}

impl Made {
    /// Without a twin, if vLLM must refuse it here although the rules allow it.
    fn on_this_machine(self, model: &str) -> Self {
        if model == WITH_EXPERTS && !has_amx() { Self { twin: None, ..self } } else { self }
    }

    fn named(&self, name: &str, options: &[&str]) -> Value {
        let activations = ["w8a8", "fp8", "fp8-block"].iter().any(|word| options.contains(word));
        let Self { artifact, twin } = self;
        json!({ "name": name, "artifact": artifact, "twin": twin, "activations": activations })
    }
}

/// Quantizes for the runtime, or, where its rules refuse, for another.
fn made(program: &Path, model: &Path, options: &[&str], folder: &Path) -> Result<Made> {
    fs::create_dir_all(folder)?;
    let (artifact, twin) = (folder.join("artifact"), folder.join("twin"));
    let quantize =
        |output: &Path, more: &[&str]| super::quantize(program, model, options, output, more);
    if quantize(&artifact, &["--runtime", RUNTIME])?.is_none() {
        let dense = ["--runtime", RUNTIME, "--format", "dense", "--dense-dtype", "source"];
        return match quantize(&twin, &dense)? {
            None => Ok(Made { artifact, twin: Some(twin) }),
            Some(why) => bail!("its twin is refused: {why}"),
        };
    }
    let mut refusals = Vec::new();
    for other in OTHERS {
        match quantize(&artifact, &["--runtime", other])? {
            None => return Ok(Made { artifact, twin: None }),
            Some(why) => refusals.push(why),
        }
    }
    bail!("no runtime takes it: {}", refusals.join("; "))
}
