//! What every report tells: the models, how they were measured, and the metrics in their order.

use super::numbers::{interval, ratio, share, significant};
use crate::units;
use llmopt_pipeline::{
    Accuracy, BlockLoss, ChoiceComparison, Comparison, Estimate, Evaluation, ModelFacts,
};

/// A line of the table of metrics. What there is not is empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) interval: String,
    pub(super) reference: String,
}

/// Every metric that was computed.
pub(super) fn figures(evaluation: &Evaluation) -> Vec<Figure> {
    let mut figures = Vec::new();
    // Of a comparison it is told beside the reference's.
    if let (Some(perplexity), None) = (&evaluation.perplexity, &evaluation.comparison) {
        figures.push(estimated("perplexity", perplexity, perplexity_text));
    }
    if let Some(comparison) = &evaluation.comparison {
        figures.extend(of_comparison(comparison));
    }
    if let Some(accuracy) = &evaluation.accuracy {
        figures.extend(of_accuracy(accuracy, None));
    }
    if let Some(choices) = &evaluation.choices {
        figures.extend(of_choices(choices));
    }
    figures
}

/// The names of the models and how they were measured, for the top of a report.
pub(super) fn facts(evaluation: &Evaluation) -> Vec<(&'static str, String)> {
    let mut facts = vec![("artifact", model(&evaluation.artifact))];
    facts.extend(evaluation.reference.as_ref().map(|reference| ("reference", model(reference))));
    facts.extend(shrunk(evaluation).map(|shrunk| ("size", shrunk)));
    facts.extend(protocol(evaluation));
    facts
}

/// The text, the tasks, and the arithmetic.
fn protocol(evaluation: &Evaluation) -> Vec<(&'static str, String)> {
    let protocol = &evaluation.protocol;
    let mut facts = Vec::new();
    if let Some(text) = &protocol.text {
        let windows = &text.windows;
        let begun = windows.bos.map(|bos| format!(", each begun with token {bos}"));
        let masked = match windows.masked_tokens {
            0 => String::new(),
            masked => format!(", {} masked and left out", units::count(masked as u64)),
        };
        let dated = text.date.as_ref().map(|date| format!(", on {date}"));
        facts.push((
            "text",
            format!(
                "`{}`, {} of {} tokens{}, {} tokens scored{masked}{}",
                text.name,
                units::counted(windows.windows, "window"),
                units::count(windows.window as u64),
                begun.unwrap_or_default(),
                units::count(text.scored),
                dated.unwrap_or_default()
            ),
        ));
    }
    if let Some(tasks) = &protocol.tasks {
        let cut = match tasks.truncated {
            0 => String::new(),
            cut => format!(", {} cut to fit", units::count(cut as u64)),
        };
        facts.push((
            "tasks",
            format!("`{}`, {}{cut}", tasks.name, units::counted(tasks.questions, "question")),
        ));
    }
    facts.push(("computed", format!("in {}, by {}", protocol.dtype, protocol.kernel)));
    facts
}

/// `1.23 GiB of 3.90 GiB (31.6 %)`
fn shrunk(evaluation: &Evaluation) -> Option<String> {
    let (after, before) = (evaluation.artifact.bytes, evaluation.reference.as_ref()?.bytes);
    let share = units::share(after, before);
    Some(format!("{} of {} ({share})", units::bytes(after), units::bytes(before)))
}

/// What each block adds to the squared error of the last hidden state, as shares of it. A block that
/// makes up for errors before it adds less than nothing.
pub(super) fn added(blocks: &[BlockLoss]) -> Vec<f64> {
    let last = blocks.last().map_or(0.0, |last| last.squared_distance);
    let before = std::iter::once(0.0).chain(blocks.iter().map(|block| block.squared_distance));
    let share = |(block, before): (&BlockLoss, f64)| match last {
        0.0 => 0.0,
        last => (block.squared_distance - before) / last,
    };
    blocks.iter().zip(before).map(share).collect()
}

/// The block that adds most; the first of equals.
pub(super) fn worst(added: &[f64]) -> usize {
    (0..added.len()).rev().max_by(|&a, &b| added[a].total_cmp(&added[b])).unwrap_or(0)
}

fn model(model: &ModelFacts) -> String {
    let mut text = format!(
        "`{}`, {}, {} parameters, {}, {:.2} bits per weight",
        model.name,
        model.family,
        units::count(model.parameters),
        units::bytes(model.bytes),
        model.bits_per_weight
    );
    if !model.schemes.is_empty() {
        text += &format!(", {}", model.schemes.join(" and "));
    }
    text
}

fn of_comparison(comparison: &Comparison) -> Vec<Figure> {
    let Comparison { perplexity, reference_perplexity, kld, .. } = comparison;
    let nats = |value: f64| significant(value, 3);
    vec![
        Figure {
            reference: perplexity_text(reference_perplexity.value),
            ..estimated("perplexity", perplexity, perplexity_text)
        },
        estimated("perplexity ratio", &comparison.perplexity_ratio, ratio),
        estimated("KL divergence, mean", &kld.mean, nats),
        estimated("KL divergence, median", &kld.median, nats),
        estimated("KL divergence, 99 %", &kld.p99, nats),
        estimated("KL divergence, 99.9 %", &kld.p99_9, nats),
        Figure {
            name: "KL divergence, maximum",
            value: nats(kld.max),
            interval: String::new(),
            reference: String::new(),
        },
        estimated("top-1 agreement", &comparison.top1, share),
        estimated("RMS change of probability", &comparison.rms_dp, share),
    ]
}

fn of_choices(choices: &ChoiceComparison) -> Vec<Figure> {
    let mut figures = of_accuracy(&choices.artifact, Some(&choices.reference));
    figures.push(estimated("flips", &choices.flips, share));
    figures.push(estimated("flips by length", &choices.flips_by_length, share));
    figures.push(estimated("changed answers", &choices.changed, share));
    figures
}

fn of_accuracy(accuracy: &Accuracy, reference: Option<&Accuracy>) -> Vec<Figure> {
    let beside = |of: fn(&Accuracy) -> &Estimate| {
        reference.map(|accuracy| share(of(accuracy).value)).unwrap_or_default()
    };
    vec![
        Figure {
            reference: beside(|of| &of.accuracy),
            ..estimated("accuracy", &accuracy.accuracy, share)
        },
        Figure {
            reference: beside(|of| &of.accuracy_by_length),
            ..estimated("accuracy by length", &accuracy.accuracy_by_length, share)
        },
    ]
}

fn estimated(name: &'static str, of: &Estimate, written: fn(f64) -> String) -> Figure {
    let interval = interval(of, written);
    Figure { name, value: written(of.value), interval, reference: String::new() }
}

fn perplexity_text(value: f64) -> String {
    significant(value, 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_blocks_add_up_to_the_last_error() {
        let block = |(layer, squared_distance)| BlockLoss {
            layer,
            relative_error: 0.1,
            per_token: 0.1,
            squared_distance,
        };
        let check = |distances: &[f64], expected: &[f64], most| {
            let blocks: Vec<BlockLoss> = distances.iter().copied().enumerate().map(block).collect();
            let added = added(&blocks);
            assert_eq!((added.as_slice(), worst(&added)), (expected, most));
        };
        check(&[1.0, 3.0, 2.0, 4.0], &[0.25, 0.5, -0.25, 0.5], 1);
        check(&[0.0, 0.0], &[0.0, 0.0], 0);
        check(&[], &[], 0);
    }
}
