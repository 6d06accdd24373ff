//! How the artifact was made, by its own report.

use super::escape::escaped;
use super::parts::table;
use crate::report::figures::{data, method};
use crate::units;
use llmopt_pipeline::Evaluation;
use serde_json::Value;
use std::fmt::Write;

pub(super) fn section(body: &mut String, evaluation: &Evaluation) {
    let _ = writeln!(body, "<section>\n<h2>How the artifact was made</h2>");
    let Some(record) = &evaluation.record else {
        let _ = writeln!(body, "<p>The artifact has no report that says so.</p>\n</section>");
        return;
    };
    let mut facts = vec![("made by", record.made_by.clone())];
    facts.extend(method(record).map(|method| ("method", method)));
    match &record.calibration {
        Some(calibration) => {
            facts.push(("calibration data", data(calibration)));
            for source in &calibration.sources {
                let windows = units::count(source.windows);
                let sha256 = &source.sha256;
                facts.push((
                    "their SHA-256",
                    format!("{sha256} ({windows} of {} as token ids)", source.name),
                ));
            }
        }
        None => facts.push(("calibration data", "none: weights alone decided".to_owned())),
    }
    facts.push(("fallbacks", units::count(record.fallbacks as u64)));
    let _ = writeln!(body, "<dl>");
    for (name, fact) in facts {
        let _ = writeln!(body, "<dt>{name}</dt><dd>{}</dd>", escaped(&fact));
    }
    let _ = writeln!(body, "</dl>\n<details><summary>The recipe, as resolved</summary>");
    let mut rows = Vec::new();
    flattened("", &record.recipe, &mut rows);
    table(body, &["option", "value"], rows);
    let _ = writeln!(
        body,
        "</details>\n<p class=\"aside\">This is what the report beside the weights says.</p>\n\
         </section>"
    );
}

/// Every value with its place: `scheme.weights.int.bits`, `4`.
fn flattened(place: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if place.is_empty() { "" } else { "." };
                flattened(&format!("{place}{dot}{name}"), value, rows);
            }
        }
        Value::Array(values) if values.is_empty() => {
            rows.push(vec![place.to_owned(), "none".to_owned()]);
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            for (number, value) in values.iter().enumerate() {
                flattened(&format!("{place}.{}", number + 1), value, rows);
            }
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(plain).collect();
            rows.push(vec![place.to_owned(), values.join(", ")]);
        }
        value => rows.push(vec![place.to_owned(), plain(value)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn method_data_and_recipe_are_there() {
        let mut body = String::new();
        section(&mut body, &sample::comparison());
        for fact in [
            "<dt>method</dt><dd>auto (qep+cd in 52 matrices, gptq+cd in 4 matrices)</dd>",
            "<dt>calibration data</dt><dd>128 windows of 256 tokens of calibration.txt</dd>",
            "scheme.weights.int.bits</th><td>4</td>",
            "group_size.columns</th><td>64</td>",
            "runtimes</th><td>transformers, vllm</td>",
            "exclude</th><td>none</td>",
        ] {
            assert!(body.contains(fact), "{fact}\n{body}");
        }
    }

    #[test]
    fn an_artifact_without_a_report_says_so() {
        let mut body = String::new();
        section(&mut body, &sample::alone());
        assert!(body.contains("no report that says so"), "{body}");
    }
}
