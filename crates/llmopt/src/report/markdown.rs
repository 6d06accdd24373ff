//! The report as Markdown, fit for a comment on a pull request.

use super::figures::{USUAL, added_how, breakdowns, facts, figures, worst};
use super::kinds::{Measure, kinds};
use super::{gates, numbers};
use crate::print;
use crate::units;
use llmopt_pipeline::{Evaluation, ModelFacts};
use std::fmt::Write;

/// The verdict and the metrics open, everything longer folded away.
pub(super) fn markdown(evaluation: &Evaluation) -> String {
    let mut text = format!("### {}\n", title(evaluation));
    outcomes(&mut text, evaluation);
    metrics(&mut text, evaluation);
    parts(&mut text, evaluation);
    blocks(&mut text, evaluation);
    matrices(&mut text, evaluation);
    measured(&mut text, evaluation);
    text
}

fn title(evaluation: &Evaluation) -> String {
    let artifact = code(&evaluation.artifact.name);
    match &evaluation.reference {
        Some(reference) => format!("{artifact} against {}", code(&reference.name)),
        None => artifact,
    }
}

fn outcomes(text: &mut String, evaluation: &Evaluation) {
    let Some(verdict) = gates::verdict(evaluation) else { return };
    let _ = writeln!(text, "\n**{}**\n", capitalized(&verdict));
    let _ =
        writeln!(text, "| gate | found | 95 % interval | limit | result |\n|---|--:|--:|--:|---|");
    for gate in &evaluation.gates {
        let (mark, result) = (if gate.passed { "✓" } else { "✗" }, gates::result(gate));
        let result = if gate.passed { result } else { format!("**missed**, {result}") };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {mark} {result} |",
            code(&gate.gate),
            gates::value(gate),
            gates::interval(gate),
            gates::limit(gate)
        );
    }
}

fn metrics(text: &mut String, evaluation: &Evaluation) {
    let _ = match evaluation.reference {
        Some(_) => {
            writeln!(text, "\n| metric | artifact | 95 % interval | reference |\n|---|--:|--:|--:|")
        }
        None => writeln!(text, "\n| metric | artifact | 95 % interval |\n|---|--:|--:|"),
    };
    let reference = |cell: &str| match evaluation.reference {
        Some(_) => format!(" {cell} |"),
        None => String::new(),
    };
    for figure in figures(evaluation) {
        let _ = writeln!(
            text,
            "| {} | {} | {} |{}",
            figure.name,
            figure.value,
            figure.interval,
            reference(&figure.reference)
        );
    }
    let (artifact, other) = (&evaluation.artifact, evaluation.reference.as_ref());
    let mut row = |name: &str, of: &dyn Fn(&ModelFacts) -> String| {
        let reference = reference(&other.map(of).unwrap_or_default());
        let _ = writeln!(text, "| {name} | {} |  |{reference}", of(artifact));
    };
    row("size", &|model| units::bytes(model.bytes));
    if artifact.linear_bits_per_weight.is_some() {
        row("bits per weight of the linears", &|model| {
            model.linear_bits_per_weight.map(|bits| format!("{bits:.2}")).unwrap_or_default()
        });
    }
    row("bits per weight of all", &|model| format!("{:.2}", model.bits_per_weight));
}

/// A table of the texts, and one of the tasks, where they have names.
fn parts(text: &mut String, evaluation: &Evaluation) {
    for parts in breakdowns(evaluation) {
        let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
        let plain = |name: &&str| name.trim_start_matches('>').to_owned();
        let align = |name: &&str| if name.starts_with('>') { "--:" } else { "---" }.to_owned();
        let _ = writeln!(text, "\n{}", row(parts.columns.iter().map(plain).collect()));
        let _ = writeln!(text, "{}", row(parts.columns.iter().map(align).collect()));
        parts.rows.into_iter().for_each(|cells| {
            let _ = writeln!(text, "{}", row(cells));
        });
    }
}

fn blocks(text: &mut String, evaluation: &Evaluation) {
    let blocks = &evaluation.blocks;
    let (Some(last), Some(most)) = (blocks.last(), worst(blocks)) else { return };
    let _ = writeln!(
        text,
        "\n<details><summary>Hidden states: {} off after block {}; block {} adds most, {}</summary>\n\n\
         | block | error it adds alone | error after it, token by token | all together |\n\
         |--:|--:|--:|--:|",
        numbers::share(last.per_token),
        last.layer,
        most.layer,
        numbers::share(most.added_error)
    );
    for block in blocks {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            block.layer,
            numbers::share(block.added_error),
            numbers::share(block.per_token),
            numbers::share(block.relative_error)
        );
    }
    let _ = writeln!(text, "\n{}\n\n</details>", added_how(evaluation));
}

fn matrices(text: &mut String, evaluation: &Evaluation) {
    if evaluation.tensors.is_empty() {
        return;
    }
    let measure = Measure::of(evaluation);
    let _ = writeln!(
        text,
        "\n<details><summary>{} quantized</summary>\n\n| matrices | count | scheme | bytes | mean \
         {error} | greatest |\n|---|--:|---|--:|--:|---|",
        units::matrices(evaluation.tensors.len()),
        error = measure.name()
    );
    for kind in kinds(&evaluation.tensors, measure) {
        let greatest =
            kind.worst.map(|(name, error)| format!("{} in {}", numbers::share(error), code(name)));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            code(&kind.label),
            units::count(kind.tensors as u64),
            kind.schemes.join(", "),
            units::bytes(kind.bytes),
            kind.error.map(numbers::share).unwrap_or_default(),
            greatest.unwrap_or_default()
        );
    }
    let _ = writeln!(text, "\n{}\n\n</details>", measure.explained());
}

fn measured(text: &mut String, evaluation: &Evaluation) {
    let _ = writeln!(text, "\n<details><summary>How it was measured</summary>\n");
    for (name, fact) in facts(evaluation) {
        let _ = writeln!(text, "- {name}: {}", sound(&fact));
    }
    for note in &evaluation.notes {
        let _ = writeln!(text, "- note: {}", sound(note));
    }
    let _ = writeln!(text, "- {} {}", evaluation.tool, evaluation.version);
    if evaluation.comparison.is_some() {
        let _ = writeln!(text, "\n{USUAL}");
    }
    let _ = writeln!(text, "\n</details>");
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A name as code that ends neither its span nor its cell.
pub(super) fn code(name: &str) -> String {
    let longest = name.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if longest > 0 { " " } else { "" };
    format!("{fence}{space}{}{space}{fence}", print::one_line(name).replace('|', "\\|"))
}

/// Text on one line, without tags.
fn sound(text: &str) -> String {
    print::one_line(text).replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_comparison_fits_a_comment() {
        assert_eq!(markdown(&sample::comparison()), COMPARISON);
    }

    #[test]
    fn a_model_alone_has_no_columns_for_a_reference() {
        let text = markdown(&sample::alone());
        assert!(text.contains("\n| metric | artifact | 95 % interval |\n"), "{text}");
        assert!(!text.contains("reference"), "{text}");
    }

    #[test]
    fn hostile_names_stay_in_their_cells() {
        let check = |name, expected: &str| assert_eq!(code(name), expected);
        check("a|b", "`a\\|b`");
        check("a`b``c", "``` a`b``c ```");
        check("</td>\n# x", "`</td>\\n# x`");
        assert_eq!(sound("<b>"), "&lt;b>");
    }

    #[test]
    fn several_texts_have_a_table() {
        let text = markdown(&sample::several());
        let table = "\n| text | windows | perplexity | perplexity ratio | KL divergence, mean | 95 % interval | top-1 agreement |\n\
                     | --- | --: | --: | --: | --: | --: | --: |\n\
                     | chat | 64 | 24.132 | 1.00952 | 0.0123 | 0.0119 to 0.0128 | 95.2 % |\n\
                     | code | 64 |";
        assert!(text.contains(table), "{text}");
    }

    const COMPARISON: &str = include_str!("sample/comparison.md");
}
