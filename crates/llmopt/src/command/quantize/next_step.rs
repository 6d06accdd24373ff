//! What to do with an artifact: measure what it lost, and load it.

use crate::loading::{Language, Loadable, Loading, ZeroPoints, loading};
use crate::print;
use llmopt_pipeline::{Format, Report, Runtime, Summary};
use std::collections::BTreeSet;

/// The next command, and how each runtime that was asked for loads the artifact.
pub(super) fn render(summary: &Summary, report: &Report) -> Vec<(&'static str, String)> {
    let mut facts = vec![("next", next(summary, report))];
    if summary.folder {
        let stop = stopped(report);
        let loads = |runtime: &Runtime| !stop.contains(&runtime.name());
        let runtimes = report.recipe.runtimes.iter().copied().filter(loads);
        for fact in runtimes.filter_map(|runtime| loaded(runtime, summary, report)) {
            if !facts.contains(&fact) {
                facts.push(fact);
            }
        }
    }
    facts
}

/// What was written has been verified; what it lost is measured where the model can be run.
fn next(summary: &Summary, report: &Report) -> String {
    let output = print::shell_word(&summary.output);
    if runs(summary) {
        let model = print::shell_word(&summary.model);
        format!("llmopt eval {output} --against {model} --text FILE")
    } else {
        verify(&output, report)
    }
}

/// The runtimes that stop at tensors which the family does not have.
fn stopped(report: &Report) -> &[&'static str] {
    report.unknown_tensors.as_ref().map_or(&[], |unknown| &unknown.stop)
}

/// The command that verifies the artifact, for the runtimes that load it.
fn verify(output: &str, report: &Report) -> String {
    let stop = stopped(report);
    let all = report.recipe.runtimes.iter().map(|runtime| runtime.name());
    let rest: Vec<&str> = all.filter(|name| !stop.contains(name)).collect();
    match stop {
        [] => format!("llmopt verify {output}"),
        _ => format!("llmopt verify {output} --runtime {}", rest.join(",")),
    }
}

/// How a runtime loads the artifact.
fn loaded(runtime: Runtime, summary: &Summary, report: &Report) -> Option<(&'static str, String)> {
    let artifact = Loadable {
        path: &summary.output,
        zero_points: zero_points(report),
        has_experts: has_experts(report),
    };
    let Loading { runtime, language, code, remark } = loading(runtime, &artifact)?;
    let place = if language == Language::Python { " in Python" } else { "" };
    Some((runtime, format!("{code}{place}{remark}")))
}

fn zero_points(report: &Report) -> ZeroPoints {
    if report.recipe.format != Format::CompressedTensors || report.recipe.scheme.symmetric {
        return ZeroPoints::No;
    }
    let quantized = report.tensors.iter().filter(|tensor| tensor.loss.is_some());
    let schemes: BTreeSet<&str> = quantized.map(|tensor| tensor.what.as_str()).collect();
    if schemes.len() > 1 { ZeroPoints::SeveralSchemes } else { ZeroPoints::OneScheme }
}

/// Whether experts were quantized: in every family they lie below a module of this name.
fn has_experts(report: &Report) -> bool {
    let mut quantized = report.tensors.iter().filter(|tensor| tensor.loss.is_some());
    quantized.any(|tensor| tensor.name.contains(".experts."))
}

/// Whether the artifact and its model can be run.
pub(super) fn runs(summary: &Summary) -> bool {
    summary.folder && summary.family.is_some()
}
