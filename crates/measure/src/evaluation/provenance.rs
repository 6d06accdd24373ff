//! What the report beside an artifact says of how it was made.
//!
//! It came with the artifact, and is shown as what it is: the artifact's own word.

use crate::outputs::JudgedOn;
use llmopt_checkpoint::read_bytes;
use llmopt_model::Variant;
use llmopt_model::report_file::LIMIT;
use llmopt_run::Error;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// How an artifact was made, by its own report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Provenance {
    /// The program and its version.
    pub made_by: String,
    /// The method that chose codes, or units.
    pub method: Option<String>,
    /// How many matrices each method has chosen the codes of, the most common first; none without
    /// calibration.
    pub methods: Vec<(String, usize)>,
    /// What was asked for, as resolved.
    pub recipe: Value,
    /// What the model was observed on; none, if weights alone decided.
    pub calibration: Option<ProvenanceData>,
    /// The windows on which the outputs of its matrices were compared.
    pub outputs_on: Option<JudgedOn>,
    /// Layers that got something else than was asked for.
    pub fallbacks: usize,
}

/// Calibration data, as a report tells them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProvenanceData {
    /// Tokens of a window.
    pub window: u64,
    /// Windows.
    pub windows: u64,
    /// Where they come from.
    #[serde(default)]
    pub sources: Vec<ProvenanceSource>,
}

/// A source of calibration data, as a report tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProvenanceSource {
    /// The name of its file, `builtin` or `self`.
    pub name: String,
    /// How many windows are its.
    pub windows: u64,
    /// The hash of their token ids.
    pub sha256: String,
}

/// A report as far as it can be read.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) facts: Option<Provenance>,
    /// What tensors lost, by name.
    pub(super) losses: BTreeMap<String, RecordedLoss>,
}

/// What a tensor lost, by its artifact's report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecordedLoss {
    /// Of its weights.
    pub(super) weights: Option<f64>,
    /// Of its outputs, on the windows that the facts name.
    pub(super) outputs: Option<f64>,
}

impl Record {
    /// The report beside an artifact; nothing, where there is none that can be read.
    ///
    /// # Errors
    /// If there is one, and it is too long or the system fails.
    pub(super) fn of(artifact: &Variant) -> Result<Self, Error> {
        let Some(path) = artifact.report_path() else { return Ok(Self::default()) };
        let report = serde_json::from_slice(&read_bytes(&path, LIMIT)?);
        Ok(report.as_ref().map_or_else(|_| Self::default(), Self::read))
    }

    fn read(report: &Value) -> Self {
        let tensors = || report.get("tensors").and_then(Value::as_array).into_iter().flatten();
        let held_out = |tensor: &Value| number(tensor, "/calibrated/held_out/output_error");
        let fitted = |tensor: &Value| number(tensor, "/calibrated/output_error");
        let judged = |by: &dyn Fn(&Value) -> Option<f64>| tensors().any(|t| by(t).is_some());
        let on = judged(&held_out)
            .then_some(JudgedOn::HeldOut)
            .or_else(|| judged(&fitted).then_some(JudgedOn::Calibration));
        let losses = tensors().filter_map(|tensor| {
            let weights = number(tensor, "/relative_error");
            let outputs = match on {
                Some(JudgedOn::HeldOut) => held_out(tensor),
                _ => fitted(tensor),
            };
            let name = tensor.get("name")?.as_str()?.to_owned();
            Some((name, RecordedLoss { weights, outputs }))
        });
        Self { losses: losses.collect(), facts: facts(report, on) }
    }
}

fn facts(report: &Value, outputs_on: Option<JudgedOn>) -> Option<Provenance> {
    let text = |pointer: &str| report.pointer(pointer).and_then(Value::as_str);
    let calibration = report.get("calibration").cloned();
    Some(Provenance {
        made_by: format!("{} {}", text("/tool")?, text("/version")?),
        method: text("/decision/chosen").or(text("/recipe/method")).map(str::to_owned),
        methods: methods(report),
        recipe: report.get("recipe")?.clone(),
        calibration: calibration.and_then(|facts| serde_json::from_value(facts).ok()),
        outputs_on,
        fallbacks: report.get("fallbacks").and_then(Value::as_array).map_or(0, Vec::len),
    })
}

/// The methods of its tensors.
fn methods(report: &Value) -> Vec<(String, usize)> {
    let tensors = report.get("tensors").and_then(Value::as_array).into_iter().flatten();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for method in tensors.filter_map(|tensor| tensor.pointer("/calibrated/method")?.as_str()) {
        *counts.entry(method).or_default() += 1;
    }
    let mut methods: Vec<(String, usize)> =
        counts.into_iter().map(|(method, count)| (method.to_owned(), count)).collect();
    methods.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    methods
}

fn number(value: &Value, pointer: &str) -> Option<f64> {
    value.pointer(pointer)?.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn outputs_are_those_of_windows_held_out_where_there_are_any() {
        let check = |tensors: Value, on, expected: &[Option<f64>]| {
            let record = Record::read(&json!({
                "tool": "llmopt", "version": "1", "recipe": { "method": "auto" },
                "decision": { "chosen": "gptq" }, "fallbacks": [{}], "tensors": tensors,
                "calibration": { "window": 64, "windows": 16, "sources": [
                    { "name": "a.txt", "windows": 16, "sha256": "00", "weight": 1.0 }
                ]},
            }));
            let facts = record.facts.expect("a report");
            assert_eq!((facts.outputs_on, facts.fallbacks), (on, 1));
            let methods = expected.len().saturating_sub(1);
            assert_eq!(facts.methods.len(), methods, "each has another one");
            assert_eq!((&*facts.made_by, facts.method.as_deref()), ("llmopt 1", Some("gptq")));
            assert_eq!(facts.calibration.expect("data").sources[0].name, "a.txt");
            let outputs: Vec<Option<f64>> = record.losses.values().map(|l| l.outputs).collect();
            assert_eq!(outputs, expected);
        };
        let weights = json!({ "name": "a", "relative_error": 0.5 });
        let fitted = json!({ "name": "b", "relative_error": 0.5,
            "calibrated": { "method": "gptq", "output_error": 0.25 } });
        let judged = json!({ "name": "c", "relative_error": 0.5,
            "calibrated": { "method": "qep", "output_error": 0.25, "held_out": { "output_error": 0.75 } } });
        check(json!([weights]), None, &[None]);
        check(json!([weights, fitted]), Some(JudgedOn::Calibration), &[None, Some(0.25)]);
        let all = json!([weights, fitted, judged]);
        check(all, Some(JudgedOn::HeldOut), &[None, None, Some(0.75)]);
    }

    #[test]
    fn what_is_no_report_tells_nothing() {
        for other in [json!(null), json!([]), json!({ "tensors": 3, "tool": "other" })] {
            let record = Record::read(&other);
            assert!(record.facts.is_none() && record.losses.is_empty(), "{other}");
        }
    }
}
