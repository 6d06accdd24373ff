//! The plan as a person reads it before anything is written.

use crate::print::{self, Table};
use crate::timing::Timing;
use crate::{passed, units};
use llmopt_pipeline::{CalibrationSummary, Method, PlannedDecision, SmoothingSummary, Summary};
use std::fmt::Write;

/// The whole plan; every tensor of it when `verbose`.
pub(super) fn render(summary: &Summary, timing: Option<&Timing>, verbose: bool) -> String {
    let mut text = facts(summary, timing);
    let mut actions = Table::new(&["action", ">tensors", ">parameters", ">before", ">after"]);
    for action in &summary.actions {
        actions.row([
            action.what.clone(),
            units::count(action.tensors as u64),
            units::count(action.parameters),
            units::bytes(action.bytes_before),
            units::bytes(action.bytes_after),
        ]);
    }
    let mut files = Table::new(&["file", ">bytes"]);
    for file in &summary.files {
        files.row([file.name.clone(), units::count(file.bytes)]);
    }
    files.row([
        "all files".to_owned(),
        units::count(summary.files.iter().map(|file| file.bytes).sum()),
    ]);
    let _ = write!(text, "\n{actions}\n{files}");
    if let Some(calibration) = &summary.calibration {
        let _ = write!(text, "\n{}", observed(calibration));
    }
    if let Some(decision) = &summary.decision {
        let _ = write!(text, "\n{}", decided(decision));
    }
    list(&mut text, "changes of config.json", &summary.config_changes);
    let fallbacks =
        summary.fallbacks.iter().map(|fallback| format!("`{}`: {}", fallback.tensor, fallback.why));
    list(&mut text, "fallbacks", &fallbacks.collect::<Vec<_>>());
    let nonfinite = summary.nonfinite.iter().map(|found| format!("`{}`: {found}", found.tensor));
    list(&mut text, "not finite, and kept", &nonfinite.collect::<Vec<_>>());
    if verbose {
        let _ = write!(text, "\n{}", tensors(summary));
    }
    text
}

/// What happens before anything is written.
fn observed(calibration: &CalibrationSummary) -> String {
    let memory = &calibration.memory;
    let methods: Vec<String> = calibration.methods.iter().map(Method::to_string).collect();
    let hidden = match memory.spills {
        true => format!("{} in a scratch file", units::bytes(memory.hidden_bytes)),
        false => format!("{} in memory", units::bytes(memory.hidden_bytes)),
    };
    let windows = units::counted(calibration.windows, "window");
    print::facts(&[
        (
            "observe",
            format!(
                "{windows} of {} tokens of {}, {}",
                calibration.window,
                calibration.sources.join(", "),
                calibration.kernel
            ),
        ),
        ("methods", methods.join(", ")),
        ("memory", bounded([memory.predicted_peak, memory.budget, memory.smallest])),
        ("hidden", hidden),
    ])
}

/// A stage's memory: what it takes, what it may take, and the least that it needs.
fn bounded(memory: [u64; 3]) -> String {
    let [peak, budget, smallest] = memory.map(units::bytes);
    format!("at most {peak} of {budget}; {smallest} would do")
}

/// What happens when everything is written.
fn decided(decision: &PlannedDecision) -> String {
    let memory = &decision.memory;
    let methods: Vec<String> = decision.methods.iter().map(Method::to_string).collect();
    let held = if memory.spills { "in a scratch file" } else { "in memory" };
    let mut facts = vec![
        (
            "decide",
            format!(
                "between {}, on {} held out",
                methods.join(", "),
                units::counted(decision.windows, "window")
            ),
        ),
        ("memory", bounded([memory.predicted_peak, memory.budget, memory.smallest])),
        ("hidden", format!("{} {held}", units::bytes(memory.hidden_bytes))),
    ];
    facts.extend(decision.note().map(|note| ("note", note)));
    print::facts(&facts)
}

fn facts(summary: &Summary, timing: Option<&Timing>) -> String {
    let memory = &summary.memory;
    let family = summary.family.as_deref().unwrap_or("unknown family");
    let kind = if summary.folder { "folder" } else { "file" };
    let free = match summary.disk.free {
        Some(free) => format!("{} free", units::bytes(free)),
        None => "free space unknown".to_owned(),
    };
    let mut facts = vec![
        ("from", format!("`{}`, {family}, {}", summary.model, units::bytes(summary.input_bytes))),
        ("to", format!("{kind} `{}`", summary.output)),
        ("how", format!("{}, {}", summary.scheme, summary.method)),
        (
            "size",
            format!(
                "{} of weights ({} bytes exactly), {} of the input; bits per weight: {}",
                units::bytes(summary.output_bytes),
                units::count(summary.output_bytes),
                units::share(summary.output_bytes, summary.input_bytes),
                units::bits_per_weight(summary.linear_bits_per_weight, summary.bits_per_weight)
            ),
        ),
        (
            "memory",
            format!(
                "at most {} of {}, {}; {} would do",
                units::bytes(memory.predicted_peak),
                units::bytes(memory.budget),
                units::counted(memory.workers, "worker"),
                units::bytes(memory.smallest)
            ),
        ),
        (
            "disk",
            format!(
                "{} needed{}, {free}",
                units::bytes(summary.disk.needed),
                alternatives(summary)
            ),
        ),
    ];
    facts.extend(timing.map(|timing| ("time", timing.render())));
    facts.extend(summary.smoothing.as_ref().map(|smoothing| ("smooth", smoothed(smoothing))));
    facts.extend(summary.notes.iter().map(|note| ("note", note.clone())));
    facts.extend(passed::stacked(summary.stacked_experts.as_ref(), summary.parameters));
    facts.extend(passed::unknown(summary.unknown_tensors.as_ref()));
    print::facts(&facts)
}

/// How many inputs are smoothed, and why others are not.
fn smoothed(smoothing: &SmoothingSummary) -> String {
    let SmoothingSummary { strength, smoothed, refused, .. } = smoothing;
    let all = smoothed + refused.len();
    let why = refused.first().map(|inputs| format!("; not the others: {}", inputs.why));
    format!("{smoothed} of {all} inputs, {strength}{}", why.unwrap_or_default())
}

/// What lies on the disk beside the artifact.
fn alternatives(summary: &Summary) -> String {
    let Some(decision) = &summary.decision else { return String::new() };
    let count = units::counted(decision.methods.len() - 1, "other artifact");
    format!(" ({} by {count} until one is chosen)", units::bytes(decision.alternative_bytes))
}

fn list(text: &mut String, heading: &str, lines: &[String]) {
    if !lines.is_empty() {
        let _ = writeln!(text, "\n{heading}");
    }
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
}

fn tensors(summary: &Summary) -> Table {
    let mut table = Table::new(&["tensor", "action", "source", ">before", ">after"]);
    for tensor in &summary.tensors {
        table.row([
            tensor.name.clone(),
            tensor.what.clone(),
            tensor.source.clone(),
            units::count(tensor.bytes_before),
            units::count(tensor.bytes_after),
        ]);
    }
    table
}
