//! What is said when the artifact has its name.

use crate::print;
use crate::{stacked, units};
use llmopt_pipeline::{CalibrationReport, Candidate, Decision, Report, Summary};

/// Where the artifact is, what it weighs, what it lost, and what to do next.
pub(super) fn told(summary: &Summary, report: &Report) -> String {
    let kind = if summary.folder { "folder" } else { "file" };
    let mut facts = vec![
        ("wrote", format!("{kind} `{}`", summary.output)),
        (
            "size",
            format!(
                "{} to {} ({}), {:.2} bits per weight",
                units::bytes(summary.input_bytes),
                units::bytes(summary.output_bytes),
                units::share(summary.output_bytes, summary.input_bytes),
                report.bits_per_weight
            ),
        ),
    ];
    facts.extend(error(report).map(|error| ("error", error)));
    facts.extend(report.calibration.as_ref().map(|data| ("observed", observed(data))));
    facts.extend(report.decision.as_ref().map(|decision| ("method", decided(decision))));
    for fallback in &report.fallbacks {
        facts.push(("fallback", format!("`{}`: {}", fallback.tensor, fallback.why)));
    }
    facts.extend(stacked::fact(report.stacked_experts.as_ref(), report.parameters));
    for found in &report.nonfinite {
        facts.push(("not finite", format!("`{}` holds {found}", found.tensor)));
    }
    if !summary.folder {
        facts.push((
            "note",
            "runtimes need a folder: put the model's `config.json` beside the input".to_owned(),
        ));
    }
    facts.push(("next", format!("llmopt verify {}", print::shell_word(&summary.output))));
    print::facts(&facts)
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
    let errors = || {
        let tensors = report.tensors.iter();
        tensors.filter_map(|tensor| Some((tensor.loss?.relative_error, tensor.name.as_str())))
    };
    let (worst, name) = errors().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let mean = errors().map(|(error, _)| error).sum::<f64>() / errors().count() as f64;
    let (mean, worst) = (units::percent(mean), units::percent(worst));
    Some(format!("of the weights: {mean} on average, at most {worst} in `{name}`"))
}
