//! What is said when the artifact has its name.

use super::next_step;
use crate::print;
use crate::{passed, units};
use llmopt_pipeline::{CalibrationReport, Candidate, Decision, Report, Summary};

/// Where the artifact is, what it weighs, what it lost, and what to do next with it.
pub(super) fn told(summary: &Summary, report: &Report) -> String {
    let kind = if summary.folder { "folder" } else { "file" };
    // What was planned may have been planned anew.
    let output_bytes = report.outputs.values().map(|file| file.bytes).sum();
    let mut facts = vec![
        ("wrote", format!("{kind} `{}`", summary.output)),
        (
            "size",
            format!(
                "{} to {} ({}), {:.2} bits per weight",
                units::bytes(summary.input_bytes),
                units::bytes(output_bytes),
                units::share(output_bytes, summary.input_bytes),
                report.bits_per_weight
            ),
        ),
    ];
    facts.extend(error(report).map(|error| ("error", error)));
    facts.extend(moved_far(&errors(report)).map(|note| ("note", note)));
    facts.extend(report.calibration.as_ref().map(|data| ("observed", observed(data))));
    facts.extend(rounded_doubles(report).map(|note| ("note", note)));
    let notes = report.calibration.iter().flat_map(|calibration| &calibration.data.notes);
    facts.extend(notes.map(|note| ("note", note.clone())));
    facts.extend(report.decision.as_ref().map(|decision| ("method", decided(decision))));
    for fallback in &report.fallbacks {
        facts.push(("fallback", format!("`{}`: {}", fallback.tensor, fallback.why)));
    }
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
    facts.extend(passed::model_card(&report.outputs));
    facts.extend(next_step::told(summary, report));
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
fn observed(report: &CalibrationReport) -> String {
    let names: Vec<&str> = report.data.sources.iter().map(|source| source.name.as_str()).collect();
    let (windows, window) = (units::counted(report.data.windows, "window"), report.data.window);
    let saved: Vec<&str> = report.data.statistics.iter().map(|file| file.name.as_str()).collect();
    let from = if saved.is_empty() { String::new() } else { format!("{}: ", saved.join(", ")) };
    format!("{from}{windows} of {window} tokens of {}, {}", names.join(", "), report.kernel)
}

/// The method that was taken, and what it was measured against.
fn decided(decision: &Decision) -> String {
    let told = |candidate: &Candidate| format!("{} {:.2e}", candidate.method, candidate.kld.value);
    let candidates: Vec<String> = decision.candidates.iter().map(told).collect();
    let windows = units::counted(decision.windows, "window");
    format!(
        "{}, by mean KL divergence on {windows} held out: {}",
        decision.chosen,
        candidates.join(", ")
    )
}

/// Relative errors of the quantized tensors: their mean, and the largest with its name.
fn error(report: &Report) -> Option<String> {
    let errors = errors(report);
    let (worst, name) = errors.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let mean = errors.iter().map(|(error, _)| error).sum::<f64>() / errors.len() as f64;
    let (mean, worst) = (units::percent(mean), units::percent(*worst));
    Some(format!("of the weights: {mean} on average, at most {worst} in `{name}`"))
}

/// The relative error of each quantized tensor, with its name.
fn errors(report: &Report) -> Vec<(f64, &str)> {
    let tensors = report.tensors.iter();
    tensors.filter_map(|tensor| Some((tensor.loss?.relative_error, tensor.name.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_that_moved_by_more_than_their_norm_are_told() {
        assert_eq!(moved_far(&[(0.5, "a"), (1.0, "b")]), None);
        let told = |errors: &[(f64, &str)]| moved_far(errors).unwrap_or_default();
        let one = told(&[(0.5, "a"), (1.01, "b")]);
        assert!(one.starts_with("`b` moved by more than the norm of its weights: "), "{one}");
        let three = told(&[(1.5, "a"), (7.0, "b"), (1.1, "c")]);
        assert!(three.starts_with("`a` and 2 others moved by "), "{three}");
    }
}
