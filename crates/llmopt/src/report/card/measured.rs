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
    for told in sets.iter().filter_map(Set::told) {
        let _ = writeln!(text, "- {told}");
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
        let _ = writeln!(text, "\n| gate | found | 95 % interval | result |\n|---|--:|--:|---|");
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

    /// In the unit of the metric.
    fn written(&self) -> Written {
        match self.0.get("metric").and_then(Value::as_str) {
            Some("top1" | "flips" | "accuracy") => share,
            Some("size") => decimal_bytes,
            Some("ppl_ratio") => ratio,
            Some("ppl" | "bpw") => |value| significant(value, 5),
            _ => nats,
        }
    }

    fn found(&self) -> String {
        let value = self.0.get("value").and_then(Value::as_f64);
        value.map_or_else(|| "no number".to_owned(), self.written())
    }

    /// The ends of what was found, where they are told.
    fn interval(&self) -> String {
        let end = |number: usize| self.0.get("interval")?.get(number)?.as_f64().map(self.written());
        match (end(0), end(1)) {
            (Some(low), Some(high)) => format!("{low} to {high}"),
            _ => String::new(),
        }
    }

    fn told(&self) -> String {
        let interval = match self.interval() {
            none if none.is_empty() => none,
            ends => format!(", {ends}"),
        };
        format!("{} (found {}{interval})", self.text(), self.found())
    }

    fn row(&self) -> String {
        let is_unsure = self.0.get("verdict").and_then(Value::as_str) == Some("unsure");
        let result = match (self.passed(), is_unsure) {
            (true, false) => "passed",
            (true, true) => "unsure, counted as passed",
            (false, false) => "**missed**",
            (false, true) => "**missed**: unsure, counted as failed",
        };
        format!("| {} | {} | {} | {result} |\n", self.text(), self.found(), self.interval())
    }
}

/// Figures that were taken on the same text or tasks.
struct Set<'a> {
    figures: &'a Value,
    kind: Kind,
    /// What they are on, as a cell has it.
    on: String,
    /// The text or the tasks, as the protocol tells them; none, of several together.
    protocol: Option<&'a Value>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Tasks,
}

/// Each text and each file of tasks by itself; where there are several texts, all of them together first.
fn sets(evaluation: &Value) -> Vec<Set<'_>> {
    let mut sets = Vec::new();
    for kind in [Kind::Text, Kind::Tasks] {
        let (list, single) = kind.keys();
        let parts = evaluation.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let whole = |on: String, protocol| Set { figures: evaluation, kind, on, protocol };
        match parts {
            [] => {
                let protocol = evaluation.pointer(single).filter(|protocol| protocol.is_object());
                sets.extend(protocol.map(|protocol| whole(named(protocol), Some(protocol))));
            }
            [_] => {}
            [_, ..] => sets.push(whole(format!("all {list} together"), None)),
        }
        sets.extend(parts.iter().map(|figures| {
            let protocol = figures.get("protocol").filter(|protocol| protocol.is_object());
            Set { figures, kind, on: named(figures), protocol }
        }));
    }
    sets
}

fn named(value: &Value) -> String {
    code(value.get("name").and_then(Value::as_str).unwrap_or("?"))
}

impl Kind {
    /// Where several are, and where one is.
    fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("texts", "/protocol/text"),
            Self::Tasks => ("tasks", "/protocol/tasks"),
        }
    }
}

impl Set<'_> {
    fn is_compared(&self) -> bool {
        let key = if self.kind == Kind::Text { "comparison" } else { "choices" };
        self.figures.get(key).is_some_and(Value::is_object)
    }

    fn rows(&self) -> Vec<String> {
        let figures = if self.kind == Kind::Text { TEXT } else { TASKS };
        let row = |(metric, pointer, written): &(&str, &str, Written)| {
            let found = estimate(self.figures.pointer(pointer)?)?;
            let (value, interval) = (written(found.value), interval(&found, written));
            Some(format!("| {} | {metric} | {value} | {interval} |\n", self.on))
        };
        figures.iter().filter_map(row).collect()
    }

    /// Windows or questions, and the hash of the file; nothing of several together.
    fn told(&self) -> Option<String> {
        let protocol = self.protocol?;
        let number = |pointer: &str| Some(units::count(protocol.pointer(pointer)?.as_u64()?));
        let file = match protocol.get("name").and_then(Value::as_str).map(code) {
            Some(file) if file != self.on => format!(", from {file}"),
            _ => String::new(),
        };
        let amount = match self.kind {
            Kind::Text => {
                let windows = number("/windows/windows").zip(number("/windows/window"));
                let windows = windows.map(|(n, window)| format!("{n} windows of {window} tokens"));
                windows
                    .into_iter()
                    .chain(number("/scored").map(|n| format!("{n} tokens scored")))
                    .collect()
            }
            Kind::Tasks => {
                number("/questions").map(|n| format!("{n} questions")).into_iter().collect()
            }
        };
        let amount: Vec<String> = amount;
        let sha256 = protocol.get("sha256").and_then(Value::as_str);
        let sha256 = sha256.map(|sha256| format!(", SHA-256 {}", code(sha256))).unwrap_or_default();
        Some(format!("{}: {}{file}{sha256}", self.on, amount.join(", ")))
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
