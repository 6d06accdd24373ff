//! Another evaluation, which relative gates are held against.
//!
//! Its numbers mean something beside this run's only if they were measured alike: on the same text in the
//! same windows, or the same questions, in the same arithmetic, against as large a reference.

use crate::evaluation::metrics::recorded;
use crate::evaluation::result::{TaskProtocol, TextProtocol};
use crate::evaluation::set::{TaskPart, TextPart};
use llmopt_checkpoint::read_bytes;
use llmopt_eval::Gate;
use llmopt_run::Error;
use serde_json::{Value, json};
use std::path::Path;

/// An evaluation that was stored.
pub(super) struct Baseline {
    /// Its file, as the request names it.
    path: String,
    evaluation: Value,
}

/// How this run measures.
pub(super) struct Measuring<'a> {
    pub(super) dtype: &'a str,
    pub(super) activations: Option<&'a str>,
    /// Weights of the reference.
    pub(super) reference: Option<u64>,
    pub(super) texts: Vec<NamedText<'a>>,
    pub(super) tasks: Vec<NamedTasks<'a>>,
}

/// A text of this run.
pub(super) struct NamedText<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) protocol: &'a TextProtocol,
    /// How many windows of it may be taken, step after step.
    pub(super) amounts: Vec<usize>,
}

/// The questions of a file of this run.
pub(super) struct NamedTasks<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) protocol: &'a TaskProtocol,
}

impl<'a> NamedText<'a> {
    pub(super) fn of(text: &'a TextPart, amounts: Vec<usize>) -> Self {
        Self { name: text.name.as_deref(), protocol: &text.protocol, amounts }
    }
}

impl<'a> NamedTasks<'a> {
    pub(super) fn of(tasks: &'a TaskPart) -> Self {
        Self { name: tasks.name.as_deref(), protocol: &tasks.protocol }
    }
}

/// What a baseline has for a gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Baselined {
    pub(super) value: f64,
    /// The windows that it was measured on, where it is of windows: on just these the gate is decided.
    pub(super) windows: Option<usize>,
}

impl Baseline {
    /// Reads a file, or `evaluation.json` in a folder.
    ///
    /// # Errors
    /// If there is none, or it is no evaluation.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let file = if path.is_dir() { path.join(IN_FOLDER) } else { path.to_owned() };
        let path = file.display().to_string();
        let no_evaluation = || Error::Input {
            what: format!("`{path}` is no evaluation"),
            hint: Some(
                "`--baseline` takes what `llmopt eval --report FILE.json` wrote, or a folder that \
                 holds `evaluation.json`"
                    .to_owned(),
            ),
        };
        let evaluation: Value =
            serde_json::from_slice(&read_bytes(&file, MOST_BYTES)?).map_err(|_| no_evaluation())?;
        let is_one = evaluation["tool"] == "llmopt" && evaluation["protocol"].is_object();
        if is_one { Ok(Self { path, evaluation }) } else { Err(no_evaluation()) }
    }

    /// What it has for a gate.
    ///
    /// # Errors
    /// If it has no such number, or one that was measured otherwise.
    pub(super) fn value(&self, gate: &Gate, run: &Measuring<'_>) -> Result<Baselined, Error> {
        let metric = gate.metric();
        let of = match gate.part() {
            None => Some(&self.evaluation),
            Some(part) => self.part(if metric.is_of_text() { "texts" } else { "tasks" }, part),
        };
        let value = of.and_then(|of| recorded(of, metric)).ok_or_else(|| {
            let name = gate.part().map(|part| format!("{part}.")).unwrap_or_default();
            Error::RefusedWithHint {
                what: format!("the baseline `{}` has no `{name}{metric}` for `{gate}`", self.path),
                hint: "evaluate the baseline with the same texts, tasks and `--against`".to_owned(),
            }
        })?;
        let differences = self.differences(gate, run);
        if differences.is_empty() {
            let sampled = metric.is_sampled() && metric.is_of_text();
            let windows = sampled.then(|| self.windows(gate.part()));
            return Ok(Baselined { value, windows });
        }
        Err(Error::RefusedWithHint {
            what: format!(
                "the baseline `{}` was not measured as this run is, so that `{gate}` means nothing: {}",
                self.path,
                differences.join("; ")
            ),
            hint: "evaluate both with the same options".to_owned(),
        })
    }

    /// How many windows of the text `part`, or of all texts, it was measured on.
    fn windows(&self, part: Option<&str>) -> usize {
        let protocols = self.protocols("text", part);
        let windows = |of: &Value| of.pointer("/windows/windows").and_then(Value::as_u64);
        protocols.iter().filter_map(windows).sum::<u64>() as usize
    }

    fn part(&self, kind: &str, name: &str) -> Option<&Value> {
        self.evaluation[kind].as_array()?.iter().find(|part| part["name"] == name)
    }

    /// What was otherwise, of what decides the metric.
    fn differences(&self, gate: &Gate, run: &Measuring<'_>) -> Vec<String> {
        let metric = gate.metric();
        if !metric.is_sampled() {
            return Vec::new();
        }
        let mut found = Vec::new();
        let told = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
        let mut compare = |what: &str, theirs: &Value, ours: Value| {
            if *theirs != ours {
                found.push(format!("{what}: {}, now {}", told(theirs), told(&ours)));
            }
        };
        compare("dtype", &self.evaluation["protocol"]["dtype"], run.dtype.into());
        let activations = &self.evaluation["protocol"]["activations"];
        compare("activations", activations, run.activations.into());
        if metric.is_of_reference() {
            let parameters = &self.evaluation["reference"]["parameters"];
            compare("parameters of the reference", parameters, json!(run.reference));
        }
        let kind = if metric.is_of_text() { "text" } else { "tasks" };
        let theirs = self.protocols(kind, gate.part());
        let ours = ours(gate, run);
        compare("files", &json!(theirs.len()), json!(ours.len()));
        for (theirs, (ours, amounts)) in theirs.iter().zip(&ours) {
            for pointer in POINTERS {
                let name = pointer.rsplit('/').next().unwrap_or_default();
                let (theirs, ours) = (theirs.pointer(pointer), ours.pointer(pointer));
                let taken = theirs.and_then(Value::as_u64);
                let may_be = |taken| amounts.iter().any(|&amount| amount as u64 == taken);
                if name == "windows" && taken.is_some_and(may_be) {
                    continue;
                }
                let null = &Value::Null;
                let of = format!("{name} of the {kind}");
                compare(&of, theirs.unwrap_or(null), ours.unwrap_or(null).clone());
            }
        }
        found
    }

    /// The texts or tasks that a metric was measured on, in the order of their hashes.
    fn protocols(&self, kind: &str, part: Option<&str>) -> Vec<Value> {
        let list = if kind == "text" { "texts" } else { "tasks" };
        let parts = self.evaluation[list].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = parts.iter().filter(|of| part.is_none_or(|part| of["name"] == part));
        let mut protocols: Vec<Value> = named.map(|of| of["protocol"].clone()).collect();
        let alone = &self.evaluation["protocol"][kind];
        if parts.is_empty() && alone.is_object() {
            protocols.push(alone.clone());
        }
        protocols.sort_by_key(|protocol| protocol["sha256"].to_string());
        protocols
    }
}

/// The same of this run, with how many windows may be taken.
fn ours(gate: &Gate, run: &Measuring<'_>) -> Vec<(Value, Vec<usize>)> {
    let wanted = |name: Option<&str>| gate.part().is_none_or(|part| name == Some(part));
    let texts = run.texts.iter().filter(|text| wanted(text.name));
    let tasks = run.tasks.iter().filter(|tasks| wanted(tasks.name));
    let mut protocols: Vec<(Value, Vec<usize>)> = match gate.metric().is_of_text() {
        true => texts.map(|text| (json!(text.protocol), text.amounts.clone())).collect(),
        false => tasks.map(|tasks| (json!(tasks.protocol), Vec::new())).collect(),
    };
    protocols.sort_by_key(|(protocol, _)| protocol["sha256"].to_string());
    protocols
}

/// What must be equal in the protocols of two texts, or of the questions of two files.
const POINTERS: [&str; 7] = [
    "/sha256",
    "/windows/window",
    "/windows/windows",
    "/windows/bos",
    "/windows/text_tokens",
    "/date",
    "/questions",
];
/// The evaluation in an artifact's folder.
const IN_FOLDER: &str = "evaluation.json";
/// An evaluation lists every matrix of a model; the largest have some hundred thousand.
const MOST_BYTES: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(windows: usize) -> TextProtocol {
        let facts = llmopt_text::WindowFacts {
            documents: Some(1),
            text_tokens: 900,
            window: 64,
            windows,
            dropped_tokens: 4,
            masked_tokens: 0,
            bos: None,
        };
        TextProtocol {
            name: "a.txt".to_owned(),
            sha256: "aa".to_owned(),
            windows: facts,
            scored: 63,
            date: None,
        }
    }

    fn baseline() -> Value {
        json!({
            "tool": "llmopt", "artifact": { "bytes": 1000, "bits_per_weight": 4.5 },
            "reference": { "parameters": 7 },
            "protocol": { "dtype": "f32", "text": protocol(8) },
            "comparison": { "kld": { "mean": { "value": 0.02 } }, "top1": { "value": null } },
        })
    }

    /// What becomes of a gate beside this baseline where 8 windows are taken, or 16.
    fn value(evaluation: Value, gate: &str) -> Result<f64, String> {
        let own = protocol(8);
        let text = NamedText { name: Some("chat"), protocol: &own, amounts: vec![8, 16] };
        let run = Measuring {
            dtype: "f32",
            activations: None,
            reference: Some(7),
            texts: vec![text],
            tasks: Vec::new(),
        };
        let baseline = Baseline { path: "b.json".to_owned(), evaluation };
        let found = baseline.value(&gate.parse().unwrap(), &run);
        found.map(|found| found.value).map_err(|error| error.to_string())
    }

    #[test]
    fn what_was_measured_alike_gives_its_value() {
        assert_eq!(value(baseline(), "kld <= baseline"), Ok(0.02));
        let mut more = baseline();
        more["protocol"]["text"] = json!(protocol(16));
        assert_eq!(value(more, "kld <= baseline"), Ok(0.02));
        let mut named = baseline();
        named["texts"] =
            json!([{ "name": "chat", "protocol": protocol(8), "perplexity": { "value": 9.5 } }]);
        assert_eq!(value(named, "chat.ppl <= baseline"), Ok(9.5));
        // No window decides it.
        let mut other = baseline();
        other["protocol"] = json!({});
        assert_eq!(value(other, "size <= baseline"), Ok(1000.0));
    }

    #[test]
    fn what_was_not_is_refused_with_what_differs() {
        let check = |pointer: &str, to: Value, expected: &str| {
            let mut other = baseline();
            *other.pointer_mut(pointer).unwrap() = to;
            let error = value(other, "kld <= baseline").unwrap_err();
            assert!(error.ends_with(expected), "{error}");
        };
        check(
            "/protocol/dtype",
            json!("bf16"),
            "so that `kld <= baseline` means nothing: dtype: bf16, now f32",
        );
        check("/reference/parameters", json!(8), ": parameters of the reference: 8, now 7");
        check("/protocol/text/sha256", json!("bb"), ": sha256 of the text: bb, now aa");
        check("/protocol/text/windows/windows", json!(9), ": windows of the text: 9, now 8");
        check("/protocol/text/windows/window", json!(32), ": window of the text: 32, now 64");
        check("/protocol/text/windows/bos", json!(1), ": bos of the text: 1, now null");
        check(
            "/protocol/text/windows/text_tokens",
            json!(9),
            ": text_tokens of the text: 9, now 900",
        );
        check("/protocol/text", json!(null), ": files: 0, now 1");
        check("/comparison/kld/mean/value", json!(null), "has no `kld` for `kld <= baseline`");
        let error = value(baseline(), "chat.kld <= baseline").unwrap_err();
        assert!(error.ends_with("has no `chat.kld` for `chat.kld <= baseline`"), "{error}");
    }
}
