//! What was measured of two artifacts on the same text, and the gates of one held against the other.

use crate::difference::side::Side;
use llmopt_checkpoint::{EVALUATION_NAME, Source, read_bytes};
use llmopt_eval::{Estimate, Gate, Metric, OnUnsure};
use llmopt_run::Error;
use serde::Serialize;
use serde_json::Value;

/// What two evaluations on the same windows of the same text found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QualityDifference {
    /// The name of the text.
    pub text: String,
    /// The hash of its file.
    pub sha256: String,
    /// Windows of it.
    pub windows: u64,
    /// What was measured, side by side.
    pub metrics: Vec<MetricDifference>,
    /// The gates of B's evaluation, in their order.
    pub gates: Vec<GateDifference>,
}

/// What both are by one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricDifference {
    /// The metric's name in a gate.
    pub metric: &'static str,
    /// Of A.
    pub a: Option<Estimate>,
    /// Of B.
    pub b: Option<Estimate>,
}

/// A gate of B's evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateDifference {
    /// As it was written.
    pub gate: String,
    /// What A has; none, where its evaluation does not tell.
    pub a: Option<f64>,
    /// What B has.
    pub b: Option<f64>,
    /// Whether A keeps it; none, where that is not known.
    pub a_passed: Option<bool>,
    /// Whether B kept it.
    pub b_passed: Option<bool>,
}

/// Compares the evaluations that lie in both folders, if they are of the same text, windows and reference.
pub(super) fn difference(
    a: &Side,
    b: &Side,
    notes: &mut Vec<String>,
) -> Result<Option<QualityDifference>, Error> {
    let a = Evaluation::beside(a.source(), "A", notes)?;
    let b = Evaluation::beside(b.source(), "B", notes)?;
    let (Some(a), Some(b)) = (a, b) else {
        return Ok(None);
    };
    Ok(match a.measured_unlike(&b) {
        None => Some(between(&a, &b)),
        Some(what) => {
            notes.push(format!(
                "the evaluations of A and B cannot be compared: they were measured {what}"
            ));
            None
        }
    })
}

fn between(a: &Evaluation, b: &Evaluation) -> QualityDifference {
    let metric = |metric: Metric| {
        let [a, b] = [a, b].map(|evaluation| evaluation.estimate(metric));
        (a.is_some() || b.is_some()).then_some(MetricDifference { metric: metric.name(), a, b })
    };
    let text = b.at("/protocol/text/name").and_then(Value::as_str);
    let sha256 = b.at("/protocol/text/sha256").and_then(Value::as_str);
    let windows = b.at("/protocol/text/windows/windows").and_then(Value::as_u64);
    QualityDifference {
        text: text.unwrap_or_default().to_owned(),
        sha256: sha256.unwrap_or_default().to_owned(),
        windows: windows.unwrap_or(0),
        metrics: COMPARED.into_iter().filter_map(metric).collect(),
        gates: b.gates().map(|gate| held_against(gate, a)).collect(),
    }
}

/// A gate of B held against A.
fn held_against(gate: &Value, a: &Evaluation) -> GateDifference {
    let written = gate.get("gate").and_then(Value::as_str).unwrap_or_default();
    let baseline = gate.get("baseline").and_then(Value::as_f64);
    let outcome = written.parse::<Gate>().ok().and_then(|gate| {
        let found = a.found(gate.part(), gate.metric())?;
        (baseline.is_some() || !gate.is_relative())
            .then(|| gate.check(&found, baseline, OnUnsure::Fail))
    });
    GateDifference {
        gate: written.to_owned(),
        a: outcome.as_ref().map(|outcome| outcome.value),
        b: gate.get("value").and_then(Value::as_f64),
        a_passed: outcome.as_ref().map(|outcome| outcome.passed),
        b_passed: gate.get("passed").and_then(Value::as_bool),
    }
}

/// An evaluation as its file holds it.
pub(crate) struct Evaluation(Value);

impl Evaluation {
    /// The one in a model's folder, if it can be read; otherwise a note says whose it is.
    pub(crate) fn beside(
        source: &Source,
        whose: &str,
        notes: &mut Vec<String>,
    ) -> Result<Option<Self>, Error> {
        let path = source.path_of(EVALUATION_NAME);
        if !source.is_folder() || !path.is_file() {
            return Ok(None);
        }
        let read = match read_bytes(&path, LIMIT) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            Err(error) if error.is_input() => Err(error.to_string()),
            Err(error) => return Err(error.into()),
        };
        Ok(match read {
            Ok(value) => Some(Self(value)),
            Err(why) => {
                notes.push(format!("`{EVALUATION_NAME}` of {whose} cannot be read: {why}"));
                None
            }
        })
    }

    /// What it holds there, if anything.
    pub(crate) fn at(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer).filter(|value| !value.is_null())
    }

    fn gates(&self) -> impl Iterator<Item = &Value> {
        self.at("/gates").and_then(Value::as_array).into_iter().flatten()
    }

    /// What was not the same when both were measured, if anything.
    fn measured_unlike(&self, other: &Self) -> Option<&'static str> {
        let same = |pointer: &str| self.at(pointer) == other.at(pointer);
        let told = [
            (self.at("/protocol/text/sha256").is_some(), "on no text"),
            (same("/protocol/text/sha256"), "on different texts"),
            (same("/protocol/text/windows"), "on different windows of the text"),
            (
                same("/reference/parameters") && same("/reference/bytes"),
                "against different references",
            ),
        ];
        told.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
    }

    /// What was found on all texts together.
    pub(crate) fn estimate(&self, metric: Metric) -> Option<Estimate> {
        estimate(&self.0, metric)
    }

    /// What was found on the text `part`; on all together, or of the artifact, without one.
    fn found(&self, part: Option<&str>, metric: Metric) -> Option<Estimate> {
        let number = |pointer| self.at(pointer).and_then(Value::as_f64);
        match (part, metric) {
            (None, Metric::Size) => number("/artifact/bytes").map(Estimate::without_interval),
            (None, Metric::Bpw) => {
                number("/artifact/bits_per_weight").map(Estimate::without_interval)
            }
            (None, _) => self.estimate(metric),
            (Some(part), _) => {
                let mut texts = self.at("/texts").and_then(Value::as_array)?.iter();
                let is_part =
                    |text: &&Value| text.get("name").and_then(Value::as_str) == Some(part);
                estimate(texts.find(is_part)?, metric)
            }
        }
    }
}

/// What was found on a text, or on all together.
fn estimate(of: &Value, metric: Metric) -> Option<Estimate> {
    let found = of.pointer(pointer(metric)?)?;
    let number = |name: &str| found.get(name).and_then(Value::as_f64);
    let value = number("value")?;
    let (low, high) = (number("low").unwrap_or(value), number("high").unwrap_or(value));
    Some(Estimate { value, low, high })
}

/// Where an evaluation holds the estimate of a metric of a text.
fn pointer(metric: Metric) -> Option<&'static str> {
    match metric {
        Metric::Ppl => Some("/comparison/perplexity"),
        Metric::PplRatio => Some("/comparison/perplexity_ratio"),
        Metric::Kld => Some("/comparison/kld/mean"),
        Metric::KldP99 => Some("/comparison/kld/p99"),
        Metric::Top1 => Some("/comparison/top1"),
        _ => None,
    }
}

/// What is shown side by side.
const COMPARED: [Metric; 3] = [Metric::Kld, Metric::PplRatio, Metric::Top1];

/// Several times that of a model of 100,000 tensors.
const LIMIT: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn evaluation(kld: f64, gates: &Value) -> Evaluation {
        Evaluation(json!({
            "artifact": { "bytes": 1000, "bits_per_weight": 4.5 },
            "reference": { "bytes": 4000, "parameters": 2000 },
            "protocol": { "text": {
                "name": "t.txt", "sha256": "ab", "windows": { "window": 128, "windows": 8 },
            } },
            "comparison": {
                "kld": { "mean": { "value": kld, "low": kld / 2.0, "high": kld * 2.0 } },
                "top1": { "value": 0.9, "low": 0.8, "high": 0.95 },
            },
            "gates": gates,
        }))
    }

    #[test]
    fn gates_of_the_second_are_held_against_the_first() {
        let gate = |gate: &str, value: f64| json!({"gate": gate, "value": value, "passed": true});
        let gates = json!([
            gate("kld <= 0.03", 0.02),
            gate("size <= 1kB", 900.0),
            gate("flips <= 0.1", 0.0),
            gate("kld <= 1.1 * baseline", 0.02),
            json!({"gate": "kld <= 3 * baseline", "value": 0.02, "passed": true, "baseline": 0.02}),
            gate("chat.kld <= 0.3", 0.02),
        ]);
        let mut a = evaluation(0.05, &json!([]));
        a.0["texts"] =
            json!([{ "name": "chat", "comparison": { "kld": { "mean": { "value": 0.2 } } } }]);
        let found = between(&a, &evaluation(0.02, &gates));
        let told: Vec<_> = found.gates.iter().map(|gate| (gate.a, gate.a_passed)).collect();
        let expected = [
            // The interval of the first holds the limit.
            (Some(0.05), Some(false)),
            (Some(1000.0), Some(true)),
            (None, None),
            (None, None),
            (Some(0.05), Some(false)),
            (Some(0.2), Some(true)),
        ];
        assert_eq!(told, expected);
        let metrics: Vec<_> = found.metrics.iter().map(|metric| metric.metric).collect();
        assert_eq!(metrics, ["kld", "top1"]);
        assert_eq!(found.metrics[0].a, Some(Estimate { value: 0.05, low: 0.025, high: 0.1 }));
        assert_eq!(found.windows, 8);
    }

    #[test]
    fn what_was_not_measured_alike_is_said() {
        let a = evaluation(0.05, &json!([]));
        assert_eq!(a.measured_unlike(&evaluation(0.02, &json!([]))), None);
        let differing = [
            ("/protocol/text/sha256", json!("cd"), "on different texts"),
            ("/protocol/text/windows/windows", json!(9), "on different windows of the text"),
            ("/reference/bytes", json!(1), "against different references"),
        ];
        for (pointer, value, expected) in differing {
            let mut b = evaluation(0.02, &json!([]));
            *b.0.pointer_mut(pointer).expect("a value") = value;
            assert_eq!(a.measured_unlike(&b), Some(expected));
        }
        let nothing = Evaluation(json!({}));
        assert_eq!(nothing.measured_unlike(&nothing), Some("on no text"));
    }
}
