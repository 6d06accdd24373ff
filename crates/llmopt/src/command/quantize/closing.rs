//! What is said when the artifact has its name.

use super::next_step::{self, runs};
use crate::print;
use crate::{passed, units};
use llmopt_pipeline::{
    CalibrationReport, Candidate, Decision, Fallback, JudgedOn, OutputLoss, Recipe, Report, Summary,
};
use std::collections::BTreeMap;

/// Where the artifact is, what it weighs, what it lost, and what to do next with it.
pub(super) fn render(summary: &Summary, report: &Report) -> String {
    let kind = if summary.folder { "folder" } else { "file" };
    let mut facts = vec![
        ("wrote", format!("{kind} `{}`", summary.output)),
        ("size", size(report)),
        ("schemes", schemes(report)),
    ];
    facts.extend(error(summary, report).map(|error| ("error", error)));
    facts.extend(moved_far(&errors(report)).map(|note| ("note", note)));
    facts.extend(worth(summary, report).map(|worth| ("calibrate", worth)));
    facts.extend(report.calibration.as_ref().map(|data| ("observed", observed(data))));
    facts.extend(rounded_doubles(report).map(|note| ("note", note)));
    let notes = report.calibration.iter().flat_map(|calibration| &calibration.data.notes);
    facts.extend(notes.map(|note| ("note", note.clone())));
    facts.extend(report.decision.as_ref().map(|decision| ("method", decided(decision))));
    facts.extend(fallbacks(&report.fallbacks));
    facts.extend(passed::stacked(report.stacked_experts.as_ref(), report.parameters));
    facts.extend(passed::unknown(report.unknown_tensors.as_ref()));
    for found in &report.nonfinite {
        facts.push(("not finite", format!("`{}` holds {found}", found.tensor)));
    }
    if !summary.folder {
        facts.push((
            "note",
            "runtimes need a folder: put the model's `config.json` beside the input".to_owned(),
        ));
    }
    facts.extend(passed::model_card(&report.envelope.outputs));
    facts.extend(next_step::render(summary, report));
    print::facts(&facts)
}

/// Matrices that a method moved by more than their own norm: where inputs are few, or all alike, outputs
/// stay the same under almost any change.
fn moved_far(errors: &[(f64, &str)]) -> Option<String> {
    let far = || errors.iter().filter(|(error, _)| *error > 1.0);
    let (_, first) = far().next()?;
    let others = match far().count() - 1 {
        0 => String::new(),
        others => format!(" and {}", units::counted(others, "other")),
    };
    Some(format!(
        "`{first}`{others} moved by more than the norm of its weights: the data tell little of its \
         inputs; more windows, or `--method search`, keep nearer to them"
    ))
}

/// That weights were rounded before anything else was done to them.
fn rounded_doubles(report: &Report) -> Option<String> {
    let doubles = report.tensors.iter();
    let doubles = doubles.filter(|t| t.loss.is_some() && t.source.starts_with("F64 ")).count();
    (doubles > 0).then(|| {
        format!(
            "F64 weights of {} were rounded to F32",
            units::counted(doubles, "quantized tensor")
        )
    })
}

/// What the model was observed on.
pub(super) fn observed(report: &CalibrationReport) -> String {
    let names: Vec<&str> = report.data.sources.iter().map(|source| source.name.as_str()).collect();
    let (windows, window) = (units::counted(report.data.windows, "window"), report.data.window);
    let saved: Vec<&str> = report.data.statistics.iter().map(|file| file.name.as_str()).collect();
    let from = if saved.is_empty() { String::new() } else { format!("{}: ", saved.join(", ")) };
    format!("{from}{windows} of {window} tokens of {}, {}", names.join(", "), report.kernel)
}

/// The method that was taken, and what it was measured against.
fn decided(decision: &Decision) -> String {
    let render =
        |candidate: &Candidate| format!("{} {:.2e}", candidate.method, candidate.kld.value);
    let candidates: Vec<String> = decision.candidates.iter().map(render).collect();
    let windows = units::counted(decision.windows, "window");
    format!(
        "{}, by mean KL divergence on {windows} held out: {}",
        decision.chosen,
        candidates.join(", ")
    )
}

/// What the artifact weighs.
pub(super) fn size(report: &Report) -> String {
    format!(
        "{} to {} of weights ({}); bits per weight: {}",
        units::bytes(report.envelope.bytes_before),
        units::bytes(report.envelope.bytes_after),
        units::share(report.envelope.bytes_after, report.envelope.bytes_before),
        units::bits_per_weight(report.linear_bits_per_weight, report.bits_per_weight)
    )
}

/// How many matrices have which scheme, and how many got something else than was asked for.
pub(super) fn schemes(report: &Report) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for tensor in report.tensors.iter().filter(|tensor| tensor.loss.is_some()) {
        *counts.entry(&tensor.what).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let render = |(what, count): &(&str, usize)| format!("{what} in {}", units::matrices(*count));
    let schemes: Vec<String> = counts.iter().map(render).collect();
    let fallbacks = match report.fallbacks.len() {
        0 => "no fallbacks".to_owned(),
        count => units::counted(count, "fallback"),
    };
    format!("{}; {fallbacks}", schemes.join(", "))
}

/// The first fallbacks, each with its reason; the report has all of them.
fn fallbacks(fallbacks: &[Fallback]) -> Vec<(&'static str, String)> {
    let render =
        |fallback: &Fallback| ("fallback", format!("`{}`: {}", fallback.tensor, fallback.why));
    let mut facts: Vec<_> = fallbacks.iter().take(FALLBACKS).map(render).collect();
    let rest = fallbacks.len().saturating_sub(FALLBACKS);
    if rest > 0 {
        facts.push(("fallback", format!("and {} more, in the report", units::count(rest as u64))));
    }
    facts
}

/// What the outputs of the quantized matrices lost, where their inputs were observed; what the weights
/// lost, where they were not. The one says little of the other.
fn error(summary: &Summary, report: &Report) -> Option<String> {
    if let Some(OutputLoss { windows, mean, greatest, worst, .. }) = &report.output_error {
        let on = match windows {
            JudgedOn::HeldOut => "on windows held out",
            JudgedOn::Calibration => "on the windows of the calibration",
        };
        let (mean, greatest) = (units::percent(*mean), units::percent(*greatest));
        return Some(format!(
            "of outputs, {on}: {mean} on average, at most {greatest} in `{worst}`"
        ));
    }
    let errors = errors(report);
    let (worst, name) = errors.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let mean = errors.iter().map(|(error, _)| error).sum::<f64>() / errors.len() as f64;
    let (mean, worst) = (units::percent(mean), units::percent(*worst));
    Some(format!(
        "of weights, not of outputs: {mean} on average, at most {worst} in `{name}`{}",
        if runs(summary) { "; what that does to outputs, `eval` measures" } else { "" }
    ))
}

/// What calibration would be worth, and how to get it, where nothing was observed.
fn worth(summary: &Summary, report: &Report) -> Option<String> {
    let Recipe { scheme, calibrate, .. } = &report.recipe;
    let gains = calibrate.is_none() && scheme.weights.bits() < 8;
    (gains && runs(summary)).then(|| WORTH.to_owned())
}

/// The relative error of each quantized tensor, with its name.
fn errors(report: &Report) -> Vec<(f64, &str)> {
    let tensors = report.tensors.iter();
    tensors.filter_map(|tensor| Some((tensor.loss?.relative_error, tensor.name.as_str()))).collect()
}

/// As measured at 2, 3, 4 and 6 bits: docs/benchmarks.md, "Quality with calibration".
const WORTH: &str = "the same command with `--calibrate FILE --force` leaves about a quarter of the KL \
    divergence; `--calibrate builtin --force`, which needs none of yours, about a third";
/// As many fallbacks are told one by one.
const FALLBACKS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_fallbacks_the_first_are_told_and_the_rest_counted() {
        let fallback = |number: usize| Fallback {
            tensor: format!("model.layers.{number}.weight"),
            why: "too small".to_owned(),
        };
        let render = |count: usize| fallbacks(&(0..count).map(fallback).collect::<Vec<_>>());
        assert_eq!(render(0), []);
        assert_eq!(render(8).len(), 8);
        assert_eq!(render(8)[7].1, "`model.layers.7.weight`: too small");
        assert_eq!((render(1500).len(), &*render(1500)[8].1), (9, "and 1,492 more, in the report"));
    }

    #[test]
    fn matrices_that_moved_by_more_than_their_norm_are_told() {
        assert_eq!(moved_far(&[(0.5, "a"), (1.0, "b")]), None);
        let render = |errors: &[(f64, &str)]| moved_far(errors).unwrap_or_default();
        let one = render(&[(0.5, "a"), (1.01, "b")]);
        assert!(one.starts_with("`b` moved by more than the norm of its weights: "), "{one}");
        let three = render(&[(1.5, "a"), (7.0, "b"), (1.1, "c")]);
        assert!(three.starts_with("`a` and 2 others moved by "), "{three}");
    }
}
