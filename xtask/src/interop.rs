//! `cargo xtask interop`: artifacts of every scheme and family, loaded by Transformers itself.
//!
//! The program is asked for an artifact and for its dense twin; `xtask/interop/load.py` loads both and
//! compares them. Where Transformers cannot load what a scheme makes of a family, the program must
//! refuse to make it. Chat templates, tokenizers, logits and generated tokens are held against it too.
//! `cargo xtask interop --vllm` does the like with vLLM on a CPU.

mod cases;
mod environment;
mod logits;
mod pruned;
mod speech;
mod templates;
mod vllm;

use crate::options::Options;
use crate::repository::{command, release_binary, root, scratch, succeed};
use anyhow::{Context, Result, ensure};
use cases::{Case, Expected};
use environment::{Environment, TRANSFORMERS};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn run(mut options: Options) -> Result<()> {
    let folder: Option<PathBuf> = options.value("--env")?;
    let only: Option<String> = options.value("--only")?;
    let program: Option<PathBuf> = options.value("--program")?;
    let vllm = options.flag("--vllm");
    options.done()?;
    let place = emptied(scratch(if vllm { "interop-vllm" } else { "interop" }))?;
    let mut tally = Tally::default();
    let program = || program.as_deref().map_or_else(release_binary, absolute);
    if vllm {
        vllm::run(folder, only.as_deref(), &program()?, &place, &mut tally)?;
    } else {
        let python = Environment::of(&TRANSFORMERS, folder)?.python;
        with_transformers(&python, only.as_deref(), program, &place, &mut tally)?;
    }
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    ensure!(tally.failed == 0 && tally.passed > 0, "the runtime and the program disagree");
    Ok(())
}

/// The parts of which `only` is a part of the name; all of them, without.
fn with_transformers(
    python: &Path,
    only: Option<&str>,
    program: impl FnOnce() -> Result<PathBuf>,
    place: &Path,
    tally: &mut Tally,
) -> Result<()> {
    let wanted = |name: &str| only.is_none_or(|text| name.contains(text));
    if wanted(templates::NAME) {
        templates::run(python, place, tally)?;
    }
    let cases: Vec<Case> = cases::all()?.into_iter().filter(|case| wanted(&case.name())).collect();
    if [logits::NAME, pruned::NAME, speech::NAME].into_iter().any(wanted) || !cases.is_empty() {
        let program = program()?;
        if wanted(logits::NAME) {
            logits::run(python, &program, place, tally)?;
        }
        if wanted(pruned::NAME) {
            pruned::run(python, &program, place, tally)?;
        }
        if wanted(speech::NAME) {
            speech::run(python, &program, place, tally)?;
        }
        if !cases.is_empty() {
            artifacts(python, &program, place, &cases, tally)?;
        }
    }
    Ok(())
}

/// An empty folder at `place`, whatever was there.
fn emptied(place: PathBuf) -> Result<PathBuf> {
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    Ok(place)
}

/// Commands run in the root, wherever the path was typed.
fn absolute(program: &Path) -> Result<PathBuf> {
    fs::canonicalize(program).with_context(|| format!("no program at `{}`", program.display()))
}

/// Makes what the cases say, and has Transformers load it.
fn artifacts(
    python: &Path,
    program: &Path,
    place: &Path,
    cases: &[Case],
    tally: &mut Tally,
) -> Result<()> {
    let mut loads = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        tally.count(case, made(program, &place.join(number.to_string()), case), &mut loads);
    }
    let (list, results) = (place.join("cases.json"), place.join("results.json"));
    fs::write(&list, Value::from(loads).to_string())?;
    load(python, &list, &results, &place.join("stderr.txt"))?;
    tally.add(&results)
}

/// The loaders draw bars on standard error; `load.py` prints what matters of it.
fn load(python: &Path, list: &Path, results: &Path, stderr: &Path) -> Result<()> {
    let script = root().join("xtask/interop/load.py");
    let mut command = Command::new(python);
    command.arg(script).arg(list).arg(results).stderr(fs::File::create(stderr)?);
    succeed(&mut command).with_context(|| format!("see {}", stderr.display()))
}

#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// A refusal ends here; an artifact still has to be loaded.
    fn count(&mut self, case: &Case, made: Result<Option<Value>>, loads: &mut Vec<Value>) {
        match made {
            Ok(Some(load)) => loads.push(load),
            Ok(None) => {
                self.passed += 1;
                println!("ok     {:<47}  refused, as it must be", case.name());
            }
            Err(error) => self.fail(&case.name(), &error),
        }
    }

    fn fail(&mut self, name: &str, error: &anyhow::Error) {
        self.failed += 1;
        println!("FAILED {name:<47}  {error:#}");
    }

    fn add(&mut self, results: &Path) -> Result<()> {
        let results: Value = serde_json::from_slice(&fs::read(results)?)?;
        self.passed += results["passed"].as_u64().context("results count")?;
        self.failed += results["failed"].as_u64().context("results count")?;
        Ok(())
    }
}

/// Makes a case's artifact and twin in `folder`; `None` if the program refuses and should.
fn made(program: &Path, folder: &Path, case: &Case) -> Result<Option<Value>> {
    let (artifact, twin) = (folder.join("artifact"), folder.join("twin"));
    fs::create_dir_all(folder)?;
    let refused = quantize(program, &case.model, case.options, &artifact, &[])?;
    match (case.expected, refused) {
        (Expected::Loads, None) => {}
        (Expected::Loads, Some(why)) => anyhow::bail!("refused: {why}"),
        (Expected::Refused(word), Some(why)) => {
            ensure!(why.contains(word), "refused without a word of {word}: {why}");
            return Ok(None);
        }
        (Expected::Refused(_), None) => anyhow::bail!("not refused, although it does not load"),
    }
    let (dtype, dense) = if case.keeps_dtype { ("auto", "source") } else { ("float32", "f32") };
    let dense = ["--format", "dense", "--dense-dtype", dense];
    let refused = quantize(program, &case.model, case.options, &twin, &dense)?;
    ensure!(refused.is_none(), "its twin is refused: {}", refused.unwrap_or_default());
    Ok(Some(json!({
        "name": case.name(), "artifact": artifact, "twin": twin, "dtype": dtype,
        "activations": case.has_activations(), "zero_points": case.zero_points,
    })))
}

/// Runs `quantize`; says why if the request is refused.
fn quantize(
    program: &Path,
    model: &Path,
    options: &[&str],
    output: &Path,
    more: &[&str],
) -> Result<Option<String>> {
    let program = program.to_str().context("paths are text")?;
    let mut command = command(program, &["quantize", "--quiet"]);
    command.arg(model).args(options).args(more).arg("--output").arg(output);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
    match output.status.code() {
        Some(0) => Ok(None),
        Some(2) => Ok(Some(said)),
        _ => anyhow::bail!("{}: {said}", output.status),
    }
}
