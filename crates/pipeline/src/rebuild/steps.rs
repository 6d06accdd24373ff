//! What a record tells of the commands that made an artifact, the first one first.

use crate::pruning::PruneRecipe;
use crate::recipe;
use llmopt_checkpoint::{Source, read_bytes, sha256, sha256_file};
use llmopt_data::CalibrationFacts;
use llmopt_linalg::KernelChoice;
use llmopt_model::report_file;
use llmopt_run::{Cancel, Error, Events, pool};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A record that can be carried out.
pub(super) struct Record {
    /// At least one.
    pub(super) steps: Vec<Step>,
    /// Every file of the artifact that the record lists.
    pub(super) outputs: BTreeMap<String, RecordedFile>,
}

/// A command that was carried out.
pub(super) struct Step {
    pub(super) version: String,
    pub(super) recipe: Recipe,
    /// The files that it read.
    pub(super) inputs: BTreeMap<String, RecordedFile>,
    /// What it observed the model on, if it did.
    pub(super) calibration: Option<CalibrationFacts>,
}

/// What was asked for.
pub(crate) enum Recipe {
    Quantize(Box<recipe::Recipe>),
    Prune(Box<PruneRecipe>),
}

/// Size and hash of a file.
#[derive(Debug, Deserialize)]
pub(super) struct RecordedFile {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// A record as it is written.
#[derive(Deserialize)]
struct RecordFile {
    version: String,
    recipe: Value,
    inputs: BTreeMap<String, RecordedFile>,
    #[serde(default)]
    outputs: BTreeMap<String, RecordedFile>,
    calibration: Option<Value>,
    made_from: Option<Box<RecordFile>>,
}

impl Recipe {
    /// The command that takes it.
    pub(super) fn command(&self) -> &'static str {
        match self {
            Self::Quantize(_) => "quantize",
            Self::Prune(_) => "prune",
        }
    }
}

/// The record beside an artifact.
pub(super) fn recorded(artifact: &Source) -> Result<Record, Error> {
    let Some(path) = report_file::path(artifact) else {
        let name = report_file::name(artifact).unwrap_or_default();
        return Err(Error::Input {
            what: format!(
                "there is no `{name}` beside `{}`: nothing tells how it was made",
                artifact.path().display()
            ),
            hint: Some("only what llmopt wrote can be made once more".to_owned()),
        });
    };
    let bytes = read_bytes(&path, report_file::LIMIT)?;
    let unreadable = |why: String| Error::Input {
        what: format!("`{}` tells no run that this version can repeat: {why}", path.display()),
        hint: Some("the version that wrote it can".to_owned()),
    };
    let mut file: RecordFile =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    let outputs = std::mem::take(&mut file.outputs);
    let mut steps = Vec::new();
    let mut next = Some(Box::new(file));
    while let Some(file) = next {
        let RecordFile { version, recipe, inputs, calibration, made_from, .. } = *file;
        steps.push(step(version, recipe, inputs, calibration).map_err(unreadable)?);
        next = made_from;
    }
    steps.reverse();
    Ok(Record { steps, outputs })
}

fn step(
    version: String,
    recipe: Value,
    inputs: BTreeMap<String, RecordedFile>,
    calibration: Option<Value>,
) -> Result<Step, String> {
    let mut recipe = parsed(&recipe)?;
    let kernel = calibration.as_ref().and_then(kernel);
    let asked = match &mut recipe {
        Recipe::Quantize(recipe) => recipe.calibrate.as_mut(),
        Recipe::Prune(recipe) => Some(&mut recipe.calibrate),
    };
    // What `auto` was on the machine that made it.
    if let (Some(asked), Some(kernel)) = (asked, kernel) {
        asked.kernel = kernel;
    }
    let calibration = calibration.map(serde_json::from_value).transpose();
    let calibration = calibration.map_err(|error| format!("`calibration`: {error}"))?;
    Ok(Step { version, recipe, inputs, calibration })
}

/// The recipe that a record holds, if all of it is known.
pub(crate) fn parsed(written: &Value) -> Result<Recipe, String> {
    let wrong = |error: serde_json::Error| format!("`recipe`: {error}");
    let (recipe, again) = match written.get("sparsity") {
        Some(_) => {
            let recipe: PruneRecipe = serde_json::from_value(written.clone()).map_err(wrong)?;
            let again = serde_json::to_value(&recipe).map_err(wrong)?;
            (Recipe::Prune(Box::new(recipe)), again)
        }
        None => {
            let recipe: recipe::Recipe = serde_json::from_value(written.clone()).map_err(wrong)?;
            let again = serde_json::to_value(&recipe).map_err(wrong)?;
            (Recipe::Quantize(Box::new(recipe)), again)
        }
    };
    match again == *written {
        true => Ok(recipe),
        false => Err(format!("`recipe` is {written}, of which only {again} is known")),
    }
}

/// The kernel of a name as reports have it: `f32 avx512`.
fn kernel(calibration: &Value) -> Option<KernelChoice> {
    calibration.get("kernel")?.as_str()?.rsplit(' ').next()?.parse().ok()
}

impl Step {
    /// The name of the file that it read, if that was a file alone.
    pub(super) fn file_of_source(&self) -> Option<String> {
        match self.inputs.contains_key("config.json") {
            true => None,
            false => self.inputs.keys().find(|name| name.ends_with(".safetensors")).cloned(),
        }
    }

    /// Refuses other data than it was carried out on. What is drawn from the model is drawn again.
    pub(super) fn check_data(&self, found: Option<&CalibrationFacts>) -> Result<(), Error> {
        let (Some(recorded), Some(found)) = (&self.calibration, found) else { return Ok(()) };
        let statistics = recorded.statistics.iter().zip(&found.statistics);
        let statistics = statistics.map(|(told, found)| (&told.name, &told.sha256, &found.sha256));
        let sources = recorded.sources.iter().zip(&found.sources);
        let sources = sources.filter(|(told, _)| told.seed.is_none());
        let sources = sources.map(|(told, found)| (&told.name, &told.sha256, &found.sha256));
        for (name, told, found) in sources.chain(statistics) {
            if told != found {
                return Err(Error::RefusedWithHint {
                    what: format!(
                        "`{name}` is not what `{}` observed the model on: its windows have SHA-256 {found}, and the \
                         record says {told}",
                        self.recipe.command()
                    ),
                    hint: "`--data FILE` names the file that it was".to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// Refuses another model than the one that the first command read.
pub(super) fn check_model(
    first: &Step,
    model: &Path,
    threads: usize,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<(), Error> {
    let source = Source::open(model)?;
    events.stage_started("hash", source.shards().iter().map(|shard| shard.bytes).sum());
    let hashes: Mutex<BTreeMap<String, (u64, String)>> = Mutex::default();
    pool::for_each(threads, source.shards().iter(), cancel, |shard, _| {
        let found = (shard.bytes, sha256_file(shard.path())?);
        hashes.lock().unwrap_or_else(PoisonError::into_inner).insert(shard.name.clone(), found);
        events.advanced(shard.bytes, &shard.name);
        Ok(())
    })?;
    events.stage_finished("hash");
    let mut found = hashes.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = source.config_bytes() {
        found.insert("config.json".to_owned(), (config.len() as u64, sha256(config)));
    }
    let other = |why: String| Error::Input {
        what: format!(
            "`{}` is not the model that the artifact was made from: {why}",
            model.display()
        ),
        hint: Some("`--against MODEL` names the first model that the record tells of".to_owned()),
    };
    for (name, (bytes, sha256)) in found {
        match first.inputs.get(&name) {
            None => return Err(other(format!("the record does not list `{name}`"))),
            Some(told) if (told.bytes, told.sha256.as_str()) != (bytes, sha256.as_str()) => {
                return Err(other(format!(
                    "`{name}` has {bytes} bytes and SHA-256 {sha256}, but the record says {} and {}",
                    told.bytes, told.sha256
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
