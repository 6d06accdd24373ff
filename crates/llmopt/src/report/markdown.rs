//! The report as Markdown, fit for a comment on a pull request.

use super::figures::{added, facts, figures, worst};
use super::kinds::kinds;
use super::{gates, numbers};
use crate::print;
use crate::units;
use llmopt_pipeline::Evaluation;
use std::fmt::Write;

/// The verdict and the metrics open, everything longer folded away.
pub(super) fn markdown(evaluation: &Evaluation) -> String {
    let mut text = format!("### {}\n", title(evaluation));
    outcomes(&mut text, evaluation);
    metrics(&mut text, evaluation);
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
    let _ = writeln!(text, "| gate | found | result |\n|---|--:|---|");
    for gate in &evaluation.gates {
        let (mark, result) = (if gate.passed { "✓" } else { "✗" }, gates::result(gate));
        let result = if gate.passed { result } else { format!("**missed**, {result}") };
        let _ =
            writeln!(text, "| {} | {} | {mark} {result} |", code(&gate.gate), gates::value(gate));
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
    let bits = |bits: f64| format!("{bits:.2}");
    let (artifact, other) = (&evaluation.artifact, evaluation.reference.as_ref());
    let size = reference(&other.map(|other| units::bytes(other.bytes)).unwrap_or_default());
    let per_weight = reference(&other.map(|other| bits(other.bits_per_weight)).unwrap_or_default());
    let _ = writeln!(text, "| size | {} |  |{size}", units::bytes(artifact.bytes));
    let _ =
        writeln!(text, "| bits per weight | {} |  |{per_weight}", bits(artifact.bits_per_weight));
}

fn blocks(text: &mut String, evaluation: &Evaluation) {
    let blocks = &evaluation.blocks;
    let Some(last) = blocks.last() else { return };
    let added = added(blocks);
    let most = worst(&added);
    let _ = writeln!(
        text,
        "\n<details><summary>Hidden states: {} off after block {}; block {} adds most</summary>\n\n| \
         after block | error, token by token | error, all together | added to the last error |\n\
         |--:|--:|--:|--:|",
        numbers::share(last.per_token),
        last.layer,
        blocks[most].layer
    );
    for (block, &added) in blocks.iter().zip(&added) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            block.layer,
            numbers::share(block.per_token),
            numbers::share(block.relative_error),
            numbers::share(added)
        );
    }
    let _ = writeln!(text, "\n</details>");
}

fn matrices(text: &mut String, evaluation: &Evaluation) {
    if evaluation.tensors.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n<details><summary>{} quantized</summary>\n\n| matrices | count | scheme | bytes | mean \
         error | greatest error |\n|---|--:|---|--:|--:|---|",
        units::matrices(evaluation.tensors.len())
    );
    for kind in kinds(&evaluation.tensors) {
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
    let _ = writeln!(text, "\n</details>");
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
    let _ = writeln!(text, "\n</details>");
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A name as code that ends neither its span nor its cell.
fn code(name: &str) -> String {
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

    const COMPARISON: &str = include_str!("sample/comparison.md");
}
