//! What to do with an artifact: measure what it lost, and load it.

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
    let output = &summary.output;
    match runtime {
        Runtime::Vllm => Some(("vLLM", format!("vllm serve {}", print::shell_word(output)))),
        Runtime::VllmCpu => {
            let needs =
                if has_experts(report) { ", on a CPU with AMX, for its experts" } else { "" };
            Some(("vLLM", format!("vllm serve {}{needs}", print::shell_word(output))))
        }
        Runtime::Transformers => {
            let quoted = serde_json::Value::from(output.as_str());
            let (options, why) = zero_points(report);
            let call = format!("AutoModelForCausalLM.from_pretrained({quoted}{options})");
            Some(("Transformers", format!("{call} in Python{why}")))
        }
        _ => None,
    }
}

/// Of packed weights with zero points, what `from_pretrained` must be told, and why.
const DEQUANTIZED: (&str, &str) = (
    ", quantization_config=CompressedTensorsConfig(dequantize=True)",
    ": compressed-tensors 0.20 lays zero points out wrongly otherwise; 0.19 loads them without",
);

/// The same where matrices differ in their scheme: what dequantizes them knows one alone.
const NEEDS_OLDER: (&str, &str) = (
    "",
    ", with compressed-tensors up to 0.19: version 0.20 loads zero points in groups of one size alone, \
     so with `--group-size 32` or another that divides every row",
);

fn zero_points(report: &Report) -> (&'static str, &'static str) {
    if report.recipe.format != Format::CompressedTensors || report.recipe.scheme.symmetric {
        return ("", "");
    }
    let quantized = report.tensors.iter().filter(|tensor| tensor.loss.is_some());
    let schemes: BTreeSet<&str> = quantized.map(|tensor| tensor.what.as_str()).collect();
    if schemes.len() > 1 { NEEDS_OLDER } else { DEQUANTIZED }
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
