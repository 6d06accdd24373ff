//! What an evaluation found, as tables: figures with their intervals, the texts they are of, and gates.

use crate::report::markdown::code;
use crate::report::numbers::{decimal_bytes, interval, ratio, share, significant};
use crate::units;
use llmopt_pipeline::Estimate;
use serde_json::Value;
use std::fmt::Write;

/// How a number is written.
type Written = fn(f64) -> String;

/// What was lost, or that nothing was measured.
pub(super) fn measured(evaluation: Option<&Value>, name: &str, base: Option<&str>) -> String {
    let Some(evaluation) = evaluation else { return unmeasured(name, base) };
    let sets = sets(evaluation);
    let compared = sets.iter().any(|set| set.is_compared());
    let mut text = match compared {
        true => "### What was lost\n".to_owned(),
        false => "### What was measured\n".to_owned(),
    };
    let rows: Vec<String> = sets.iter().flat_map(Set::rows).collect();
    match rows.is_empty() {
        true => text += "\nThe evaluation has no figures.\n",
        false => {
            let _ = writeln!(text, "\n| on | metric | value | 95 % interval |\n|---|---|--:|--:|");
            rows.iter().for_each(|row| text += row);
        }
    }
    let _ = writeln!(text);
    for set in &sets {
        let _ = writeln!(text, "- {}", set.told());
    }
    let _ = writeln!(text, "- {}", computed(evaluation));
    if compared {
        let _ = writeln!(text, "- {COMPARED}");
    }
    gates(&mut text, evaluation);
    text
}

fn unmeasured(name: &str, base: Option<&str>) -> String {
    use crate::print::shell_word;
    let command = format!(
        "llmopt eval {} --against {} --text FILE",
        shell_word(name),
        base.map_or_else(
            || "MODEL".to_owned(),
            |base| shell_word(base.rsplit('/').next().unwrap_or(base))
        )
    );
    format!(
        "### What was lost\n\nNothing was measured: what this artifact lost against its original is not known. {} \
         measures it.\n",
        code(&command)
    )
}

/// One line for the top of the section, if gates were missed.
pub(super) fn missed(evaluation: &Value) -> Option<String> {
    let all: Vec<Gate<'_>> = all_gates(evaluation).collect();
    let missed: Vec<&Gate<'_>> = all.iter().filter(|gate| !gate.passed()).collect();
    let told: Vec<String> = missed.iter().map(|gate| gate.told()).collect();
    match (all.len(), missed.len()) {
        (_, 0) => None,
        (1, _) => Some(format!("> **The gate was missed**: {}.", told.join("; "))),
        (all, missed) => {
            Some(format!("> **{missed} of {all} gates missed**: {}.", told.join("; ")))
        }
    }
}

fn gates(text: &mut String, evaluation: &Value) {
    let rows: Vec<String> = all_gates(evaluation).map(|gate| gate.row()).collect();
    if !rows.is_empty() {
        let _ = writeln!(text, "\n| gate | found | result |\n|---|--:|---|");
        rows.iter().for_each(|row| *text += row);
    }
}

/// A bound, and what was found.
struct Gate<'a>(&'a Value);

fn all_gates(evaluation: &Value) -> impl Iterator<Item = Gate<'_>> {
    evaluation.get("gates").and_then(Value::as_array).into_iter().flatten().map(Gate)
}

impl Gate<'_> {
    fn passed(&self) -> bool {
        self.0.get("passed") == Some(&Value::Bool(true))
    }

    fn text(&self) -> String {
        code(self.0.get("gate").and_then(Value::as_str).unwrap_or("?"))
    }

    /// What was found, in the unit of the metric.
    fn found(&self) -> String {
        let written: Written = match self.0.get("metric").and_then(Value::as_str) {
            Some("top1" | "flips" | "accuracy") => share,
            Some("size") => decimal_bytes,
            Some("ppl_ratio") => ratio,
            Some("ppl" | "bpw") => |value| significant(value, 5),
            _ => nats,
        };
        match self.0.get("value").and_then(Value::as_f64) {
            Some(value) => written(value),
            None => "no number".to_owned(),
        }
    }

    fn told(&self) -> String {
        format!("{} (found {})", self.text(), self.found())
    }

    fn row(&self) -> String {
        let result = if self.passed() { "passed" } else { "**missed**" };
        format!("| {} | {} | {result} |\n", self.text(), self.found())
    }
}

/// Figures that were taken on the same text or tasks.
struct Set<'a> {
    figures: &'a Value,
    /// The text and the tasks as the protocol tells them.
    text: Option<&'a Value>,
    tasks: Option<&'a Value>,
    name: Option<&'a str>,
}

/// Each text by itself where there are several; otherwise the whole evaluation.
fn sets(evaluation: &Value) -> Vec<Set<'_>> {
    let protocol =
        |key: &str| evaluation.pointer(&format!("/protocol/{key}")).filter(|v| v.is_object());
    let whole = Set {
        figures: evaluation,
        text: protocol("text"),
        tasks: protocol("tasks"),
        name: protocol("text").and_then(name),
    };
    let texts = evaluation.get("texts").and_then(Value::as_array).into_iter().flatten();
    let of = |figures| Set {
        figures,
        text: [Some(figures), figures.get("text"), figures.pointer("/protocol/text")]
            .into_iter()
            .flatten()
            .find(|value| value.get("windows").is_some()),
        tasks: None,
        name: name(figures).or_else(|| name(figures.get("text")?)),
    };
    let several: Vec<Set<'_>> = texts.map(of).collect();
    match several.is_empty() {
        true => vec![whole],
        // Tasks are told of once, beside the texts.
        false if whole.tasks.is_some() => {
            let tasks = Set { text: None, name: None, ..whole };
            several.into_iter().chain([tasks]).collect()
        }
        false => several,
    }
}

fn name(value: &Value) -> Option<&str> {
    value.get("name")?.as_str()
}

impl Set<'_> {
    fn is_compared(&self) -> bool {
        self.figures.get("comparison").is_some_and(Value::is_object)
    }

    fn rows(&self) -> Vec<String> {
        let is_text = self.text.is_some() || self.name.is_some();
        let on_text = self.name.map(code).unwrap_or_default();
        let on_tasks = self.tasks.and_then(name).map(code).unwrap_or_default();
        let row = |on: &str, (metric, pointer, written): &(&str, &str, Written)| {
            let found = estimate(self.figures.pointer(pointer)?)?;
            Some(format!(
                "| {on} | {metric} | {} | {} |\n",
                written(found.value),
                interval(&found, written)
            ))
        };
        let texts = TEXT.iter().filter(|_| is_text).filter_map(|figure| row(&on_text, figure));
        let tasks = TASKS.iter().filter(|_| self.tasks.is_some());
        texts.chain(tasks.filter_map(|figure| row(&on_tasks, figure))).collect()
    }

    /// Windows and hash of the text, and the tasks.
    fn told(&self) -> String {
        let number = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_u64);
        let sha = |value: &Value| {
            let sha256 = value.get("sha256").and_then(Value::as_str);
            sha256.map(|sha256| format!(", SHA-256 {}", code(sha256))).unwrap_or_default()
        };
        let text = self.text.or(self.name.is_some().then_some(self.figures)).map(|text| {
            let windows = number(text, "/windows/windows").zip(number(text, "/windows/window"));
            let windows = windows.map(|(windows, window)| {
                format!(": {} windows of {} tokens", units::count(windows), units::count(window))
            });
            let scored =
                number(text, "/scored").map(|n| format!(", {} tokens scored", units::count(n)));
            let (windows, scored) = (windows.unwrap_or_default(), scored.unwrap_or_default());
            format!("text {}{windows}{scored}{}", code(self.name.unwrap_or("?")), sha(text))
        });
        let tasks = self.tasks.map(|tasks| {
            let questions = number(tasks, "/questions").unwrap_or(0);
            let name = code(name(tasks).unwrap_or("?"));
            format!("tasks {name}: {} questions{}", units::count(questions), sha(tasks))
        });
        text.into_iter().chain(tasks).collect::<Vec<_>>().join("; ")
    }
}

/// In what, by what, and with which program.
fn computed(evaluation: &Value) -> String {
    let text = |pointer: &str| evaluation.pointer(pointer).and_then(Value::as_str).unwrap_or("?");
    let reference = evaluation.pointer("/reference/name").and_then(Value::as_str);
    let against = reference.map(|name| format!(" against {}", code(name))).unwrap_or_default();
    format!(
        "measured{against} in {} by {}, with {}",
        code(text("/protocol/dtype")),
        code(text("/protocol/kernel")),
        code(&format!("{} {}", text("/tool"), text("/version")))
    )
}

fn estimate(value: &Value) -> Option<Estimate> {
    let end = |key| value.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
    Some(Estimate { value: value.get("value")?.as_f64()?, low: end("low"), high: end("high") })
}

fn nats(value: f64) -> String {
    significant(value, 3)
}

fn perplexity(value: f64) -> String {
    significant(value, 5)
}

const TEXT: &[(&str, &str, Written)] = &[
    ("KL divergence, mean, nats", "/comparison/kld/mean", nats),
    ("KL divergence, p99, nats", "/comparison/kld/p99", nats),
    ("top-1 agreement", "/comparison/top1", share),
    ("perplexity ratio", "/comparison/perplexity_ratio", ratio),
    ("perplexity", "/perplexity", perplexity),
    ("perplexity of the original", "/comparison/reference_perplexity", perplexity),
];
const TASKS: &[(&str, &str, Written)] = &[
    ("accuracy", "/accuracy/accuracy", share),
    ("accuracy", "/choices/artifact/accuracy", share),
    ("accuracy of the original", "/choices/reference/accuracy", share),
    ("flips", "/choices/flips", share),
];
const COMPARED: &str = "KL divergence is that of the next token's distribution from the original's, 0 where nothing \
     changed; intervals hold 95 of 100 resamples of whole windows, or of questions";
