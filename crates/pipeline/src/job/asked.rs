//! What a stage's bytes follow from, as it is kept beside its artifact: another run goes on only where all of
//! it is the same, and says what is not.

use crate::job::{JobRequest, JobStage};
use llmopt_checkpoint::{Source, sha256_file};
use llmopt_data::CalibrationSource;
use llmopt_model::model_state;
use llmopt_run::Error;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What the bytes of all stages follow from.
pub(super) struct Asked {
    model: Value,
    stages: Vec<Value>,
}

impl Asked {
    /// Reads what a job asks for: the model's files by size and time of change, the data by their hashes.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub(super) fn of(request: &JobRequest) -> Result<Self, Error> {
        let stages = request.stages.iter().map(stage).collect::<Result<_, _>>()?;
        Ok(Self { model: model_state(&Source::open(&request.model)?)?, stages })
    }

    /// What the first `count` stages follow from.
    pub(super) fn first(&self, count: usize) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "model": self.model,
            "stages": self.stages[..count],
        })
    }
}

fn stage(stage: &JobStage) -> Result<Value, Error> {
    match stage {
        JobStage::Prune(recipe) => {
            followed_from(stage.name(), recipe, recipe.calibrate.data.sources.iter())
        }
        JobStage::Quantize(recipe) => followed_from(stage.name(), recipe, recipe.sources()),
        JobStage::Mixed(mixed) => followed_from(stage.name(), mixed, mixed.recipe.sources()),
    }
}

/// What is asked of a stage, with the hashes of the files that it observes the model on.
pub(crate) fn followed_from<'s>(
    name: &str,
    recipe: &impl Serialize,
    sources: impl Iterator<Item = &'s CalibrationSource>,
) -> Result<Value, Error> {
    let recipe = serde_json::to_value(recipe).map_err(|error| Error::Refused(error.to_string()))?;
    let mut data = BTreeMap::new();
    for source in sources {
        if let CalibrationSource::File { path, .. } = source {
            data.insert(source.name(), sha256_file(path)?);
        }
    }
    Ok(json!({ name: recipe, "data": data }))
}

/// Where two such values differ: `stages.1.quantize.group_size: 64, and it was 128`.
pub(super) fn differences(now: &Value, then: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", now, then, &mut found);
    found
}

fn compare(path: &str, now: &Value, then: &Value, found: &mut Vec<String>) {
    let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => {
            let mut keys: Vec<&String> = now.keys().chain(then.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                compare(&inner(key), &of(now), &of(then), found);
            }
        }
        (Value::Array(now), Value::Array(then)) => {
            for number in 0..now.len().max(then.len()) {
                let of = |items: &[Value]| items.get(number).cloned().unwrap_or(Value::Null);
                compare(&inner(&number.to_string()), &of(now), &of(then), found);
            }
        }
        (now, then) if now != then => found.push(format!("{path}: {now}, and it was {then}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_by_their_place() {
        let check = |now: Value, then: Value, expected: &[&str]| {
            assert_eq!(differences(&now, &then), expected);
        };
        let recipe = |bits: u32| json!({ "stages": [{ "quantize": { "bits": bits } }] });
        check(recipe(4), recipe(4), &[]);
        check(recipe(4), recipe(8), &["stages.0.quantize.bits: 4, and it was 8"]);
        check(
            json!({ "version": "2", "data": { "a.txt": "x" } }),
            json!({ "version": "1", "data": { "b.txt": "x" } }),
            &[
                "data.a.txt: \"x\", and it was null",
                "data.b.txt: null, and it was \"x\"",
                "version: \"2\", and it was \"1\"",
            ],
        );
    }
}
