//! What every report tells: the models, how they were measured, and the metrics in their order.

use super::numbers::{interval, ratio, share, significant};
use crate::units;
use llmopt_pipeline::{
    Accuracy, BlockLoss, ChoiceComparison, Comparison, Estimate, Evaluation, ModelFacts,
    Provenance, ProvenanceData, TaskProtocol, TaskResult, TextProtocol, TextResult,
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
    facts.extend(made(evaluation).map(|made| ("made", made)));
    facts.extend(protocol(evaluation));
    facts
}

/// The text, the tasks, and the arithmetic.
fn protocol(evaluation: &Evaluation) -> Vec<(&'static str, String)> {
    let protocol = &evaluation.protocol;
    let mut facts = Vec::new();
    let (texts, tasks) = (&evaluation.texts, &evaluation.tasks);
    if texts.is_empty() {
        facts.extend(protocol.text.as_ref().map(|text| ("text", text_fact(text))));
    }
    let text = |of: &TextResult| ("text", format!("{}: {}", of.name, text_fact(&of.protocol)));
    facts.extend(texts.iter().map(text));
    if tasks.is_empty() {
        facts.extend(protocol.tasks.as_ref().map(|tasks| ("tasks", task_fact(tasks))));
    }
    let task = |of: &TaskResult| ("tasks", format!("{}: {}", of.name, task_fact(&of.protocol)));
    facts.extend(tasks.iter().map(task));
    let rounded = protocol.activations.as_ref();
    let rounded =
        rounded.map(|to| format!(", inputs of codes rounded to {to}")).unwrap_or_default();
    facts.push(("computed", format!("in {}, by {}{rounded}", protocol.dtype, protocol.kernel)));
    facts
}

/// Which text it was, and how it was cut.
fn text_fact(text: &TextProtocol) -> String {
    let windows = &text.windows;
    let begun = windows.bos.map(|bos| format!(", each begun with token {bos}"));
    let masked = match windows.masked_tokens {
        0 => String::new(),
        masked => format!(", {} masked and left out", units::count(masked as u64)),
    };
    let dated = text.date.as_ref().map(|date| format!(", on {date}"));
    format!(
        "`{}`, {} of {} tokens{}, {} tokens scored{masked}{}",
        text.name,
        units::counted(windows.windows, "window"),
        units::count(windows.window as u64),
        begun.unwrap_or_default(),
        units::count(text.scored),
        dated.unwrap_or_default()
    )
}

/// Which questions they were.
fn task_fact(tasks: &TaskProtocol) -> String {
    let cut = match tasks.truncated {
        0 => String::new(),
        cut => format!(", {} cut to fit", units::count(cut as u64)),
    };
    format!("`{}`, {}{cut}", tasks.name, units::counted(tasks.questions, "question"))
}

/// A table with a row for each text, or for the questions of each file. Columns that begin with `>` are
/// numbers.
pub(super) struct Breakdown {
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

/// One for the texts and one for the tasks, where they have names.
pub(super) fn breakdowns(evaluation: &Evaluation) -> Vec<Breakdown> {
    let mut columns = vec!["text", ">windows", ">perplexity"];
    columns.extend(match evaluation.reference {
        Some(_) => {
            &[">perplexity ratio", ">KL divergence, mean", ">95 % interval", ">top-1 agreement"][..]
        }
        None => &[">95 % interval"],
    });
    let texts = Breakdown { columns, rows: evaluation.texts.iter().map(of_text).collect() };
    let mut columns = vec!["tasks", ">questions", ">accuracy", ">95 % interval"];
    columns.extend(evaluation.reference.as_ref().map(|_| ">flips"));
    let tasks = Breakdown { columns, rows: evaluation.tasks.iter().map(of_tasks).collect() };
    [texts, tasks].into_iter().filter(|table| !table.rows.is_empty()).collect()
}

fn of_text(text: &TextResult) -> Vec<String> {
    let nats = |value: f64| significant(value, 3);
    let mut row = vec![text.name.clone(), units::count(text.protocol.windows.windows as u64)];
    row.extend(text.perplexity.map(|found| perplexity_text(found.value)));
    match (&text.comparison, &text.perplexity) {
        (Some(found), _) => row.extend([
            ratio(found.perplexity_ratio.value),
            nats(found.kld.mean.value),
            interval(&found.kld.mean, nats),
            share(found.top1.value),
        ]),
        (None, perplexity) => row.extend(perplexity.map(|found| interval(&found, perplexity_text))),
    }
    row
}

fn of_tasks(tasks: &TaskResult) -> Vec<String> {
    let mut row = vec![tasks.name.clone(), units::count(tasks.protocol.questions as u64)];
    let choices = tasks.choices.as_ref();
    let accuracy = tasks.accuracy.as_ref().or(choices.map(|choices| &choices.artifact));
    row.extend(
        accuracy
            .into_iter()
            .flat_map(|found| [share(found.accuracy.value), interval(&found.accuracy, share)]),
    );
    row.extend(choices.map(|choices| share(choices.flips.value)));
    row
}

/// `1.23 GiB of 3.90 GiB (31.6 %)`
fn shrunk(evaluation: &Evaluation) -> Option<String> {
    let (after, before) = (evaluation.artifact.bytes, evaluation.reference.as_ref()?.bytes);
    let share = units::share(after, before);
    Some(format!("{} of {} ({share})", units::bytes(after), units::bytes(before)))
}

/// The block that adds most by itself; the first of equals.
pub(super) fn worst(blocks: &[BlockLoss]) -> Option<&BlockLoss> {
    blocks.iter().rev().max_by(|a, b| a.added_error.total_cmp(&b.added_error))
}

/// How it was measured what a block adds.
pub(super) fn added_how(evaluation: &Evaluation) -> String {
    let tokens = evaluation.protocol.block_tokens.unwrap_or_default();
    format!(
        "Each block of the artifact ran on the hidden states that the reference has before it, over \
         the first {} tokens: added is how far what it makes of them is from what the reference’s \
         block makes of them, relative to that and as the root mean square over tokens. Errors of \
         earlier blocks have no part in it, and it cannot be negative.",
        units::count(tokens as u64)
    )
}

/// By which program, method and data the artifact was made, if it says so.
fn made(evaluation: &Evaluation) -> Option<String> {
    let record = evaluation.record.as_ref()?;
    let method = method(record).map(|method| format!("by {method}"));
    let data = record.calibration.as_ref().map(|calibration| format!("on {}", data(calibration)));
    let by = format!("by {}", record.made_by);
    Some([Some(by), method, data].into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// `auto (qep+cd in 52 matrices, gptq+cd in 4 matrices)`
pub(super) fn method(record: &Provenance) -> Option<String> {
    let method = record.method.as_ref()?;
    match &record.methods[..] {
        [] => Some(method.clone()),
        [(only, _)] if only == method => Some(method.clone()),
        methods => {
            let render = |(method, count): &(String, usize)| {
                format!("{method} in {}", units::matrices(*count))
            };
            let told: Vec<String> = methods.iter().map(render).collect();
            Some(format!("{method} ({})", told.join(", ")))
        }
    }
}

/// `128 windows of 256 tokens of a.txt`
pub(super) fn data(calibration: &ProvenanceData) -> String {
    let sources: Vec<&str> = calibration.sources.iter().map(|source| &*source.name).collect();
    let windows = usize::try_from(calibration.windows).unwrap_or(usize::MAX);
    format!(
        "{} of {} tokens of {}",
        units::counted(windows, "window"),
        units::count(calibration.window),
        sources.join(", ")
    )
}

/// What is usual, for those who see such numbers for the first time.
pub(super) const USUAL: &str = "What is usual: Llama 3 8B on the WikiText-2 test text has a mean KL \
    divergence of .0014 at 8 bits (q8_0; top-1 agreement 97.7 %), .0055 at 6 (q6_K; 96.0 %), .031 at \
    4 (q4_K_M; 91.9 %) and .45 at 2 (q2_K; 71.1 %), says llama.cpp’s tools/perplexity/README.md \
    (scoreboard of revision f364eb6f). \
    By that table less than .01 is as good as 5 or 6 bits are, and more than .1 as bad as 3 and fewer. \
    At the same width small models lose more.";

fn model(model: &ModelFacts) -> String {
    let mut text = format!(
        "`{}`, {}, {} parameters, {}, bits per weight: {}",
        model.name,
        model.family,
        units::count(model.parameters),
        units::bytes(model.bytes),
        units::bits_per_weight(model.linear_bits_per_weight, model.bits_per_weight)
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
        estimated("KL divergence, p99", &kld.p99, nats),
        estimated("KL divergence, p99.9", &kld.p99_9, nats),
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
    fn the_block_that_adds_most_is_found() {
        let check = |errors: &[f64], expected: Option<usize>| {
            let block = |(layer, &added_error): (usize, &f64)| BlockLoss {
                layer,
                added_error,
                relative_error: 0.1,
                per_token: 0.1,
                squared_distance: 1.0,
            };
            let blocks: Vec<BlockLoss> = errors.iter().enumerate().map(block).collect();
            assert_eq!(worst(&blocks).map(|block| block.layer), expected);
        };
        check(&[0.01, 0.03, 0.02, 0.03], Some(1));
        check(&[0.0, 0.0], Some(0));
        check(&[], None);
    }
}
