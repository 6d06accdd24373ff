//! Where the value of a metric stands: in what was measured, and in an evaluation as JSON.

use crate::evaluation::result::Evaluation;
use llmopt_eval::{Accuracy, ChoiceComparison, Comparison, Estimate, Gate, Metric};
use serde_json::Value;

/// The value of a gate's metric, of all texts or questions or of the part that the gate names; NaN, if it
/// was not computed.
pub(super) fn found(evaluation: &Evaluation, gate: &Gate) -> Estimate {
    let metric = gate.metric();
    let estimate = match (gate.part(), metric.is_of_text()) {
        (None, _) => of_all(evaluation, metric),
        (Some(part), true) => {
            let text = evaluation.texts.iter().find(|text| text.name == part);
            text.and_then(|text| {
                of_text(text.perplexity.as_ref(), text.comparison.as_ref(), metric)
            })
        }
        (Some(part), false) => {
            let tasks = evaluation.tasks.iter().find(|tasks| tasks.name == part);
            tasks
                .and_then(|tasks| of_tasks(tasks.accuracy.as_ref(), tasks.choices.as_ref(), metric))
        }
    };
    estimate.unwrap_or(Estimate::without_interval(f64::NAN))
}

fn of_all(evaluation: &Evaluation, metric: Metric) -> Option<Estimate> {
    let Evaluation { perplexity, comparison, accuracy, choices, artifact, .. } = evaluation;
    match metric {
        Metric::Size => Some(Estimate::without_interval(artifact.bytes as f64)),
        Metric::Bpw => Some(Estimate::without_interval(artifact.bits_per_weight)),
        _ if metric.is_of_text() => of_text(perplexity.as_ref(), comparison.as_ref(), metric),
        _ => of_tasks(accuracy.as_ref(), choices.as_ref(), metric),
    }
}

fn of_text(
    perplexity: Option<&Estimate>,
    comparison: Option<&Comparison>,
    metric: Metric,
) -> Option<Estimate> {
    match metric {
        Metric::Ppl => perplexity.copied(),
        Metric::PplRatio => Some(comparison?.perplexity_ratio),
        Metric::Kld => Some(comparison?.kld.mean),
        Metric::KldP99 => Some(comparison?.kld.p99),
        Metric::Top1 => Some(comparison?.top1),
        _ => None,
    }
}

fn of_tasks(
    accuracy: Option<&Accuracy>,
    choices: Option<&ChoiceComparison>,
    metric: Metric,
) -> Option<Estimate> {
    match metric {
        Metric::Flips => Some(choices?.flips),
        Metric::Accuracy => Some(accuracy.or(choices.map(|choices| &choices.artifact))?.accuracy),
        _ => None,
    }
}

/// The value of a metric in an evaluation as JSON, or in one of its texts or tasks.
pub(super) fn recorded(evaluation: &Value, metric: Metric) -> Option<f64> {
    pointers(metric).iter().find_map(|pointer| evaluation.pointer(pointer)?.as_f64())
}

fn pointers(metric: Metric) -> &'static [&'static str] {
    match metric {
        Metric::Ppl => &["/perplexity/value"],
        Metric::PplRatio => &["/comparison/perplexity_ratio/value"],
        Metric::Kld => &["/comparison/kld/mean/value"],
        Metric::KldP99 => &["/comparison/kld/p99/value"],
        Metric::Top1 => &["/comparison/top1/value"],
        Metric::Flips => &["/choices/flips/value"],
        Metric::Accuracy => &["/accuracy/accuracy/value", "/choices/artifact/accuracy/value"],
        Metric::Size => &["/artifact/bytes"],
        Metric::Bpw => &["/artifact/bits_per_weight"],
    }
}
