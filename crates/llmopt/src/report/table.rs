//! The report on a terminal.

use super::figures::{breakdowns, facts, figures};
use super::{gates, numbers};
use crate::print::{self, Table};
use llmopt_pipeline::Evaluation;
use std::fmt::Write;

/// What was measured, the metrics, the blocks that do the damage, and the gates.
pub(crate) fn table(evaluation: &Evaluation) -> String {
    let mut text = print::facts(&facts(evaluation));
    let _ = write!(text, "\n{}", metrics(evaluation));
    for parts in breakdowns(evaluation) {
        let mut table = Table::new(&parts.columns);
        parts.rows.into_iter().for_each(|row| table.row(row));
        let _ = write!(text, "\n{table}");
    }
    if !evaluation.blocks.is_empty() {
        let all = evaluation.blocks.len();
        let _ = write!(text, "\nof {all} blocks, those that add most and the last\n");
        let _ = write!(text, "{}", layers(evaluation));
    }
    if !evaluation.gates.is_empty() {
        let _ = write!(text, "\n{}", outcomes(evaluation));
    }
    for (place, note) in evaluation.notes.iter().enumerate() {
        let _ = writeln!(text, "{}note: {note}", if place == 0 { "\n" } else { "" });
    }
    text
}

fn metrics(evaluation: &Evaluation) -> Table {
    let columns: &[&str] = match evaluation.reference {
        Some(_) => &["metric", ">artifact", "95 % interval", ">reference"],
        None => &["metric", ">artifact", "95 % interval"],
    };
    let mut table = Table::new(columns);
    for figure in figures(evaluation) {
        let cells = [figure.name.to_owned(), figure.value, figure.interval, figure.reference];
        table.row(cells.into_iter().take(columns.len()));
    }
    table
}

/// The blocks that add most by themselves, and the last, in the order of layers.
fn layers(evaluation: &Evaluation) -> Table {
    let blocks = &evaluation.blocks;
    let mut worst: Vec<usize> = (0..blocks.len()).collect();
    worst.sort_by(|&a, &b| blocks[b].added_error.total_cmp(&blocks[a].added_error));
    worst.truncate(LAYERS);
    worst.extend(blocks.len().checked_sub(1));
    worst.sort_unstable();
    worst.dedup();
    let mut table = Table::new(&["block", ">error it adds alone", ">error after it"]);
    for place in worst {
        table.row([
            blocks[place].layer.to_string(),
            numbers::share(blocks[place].added_error),
            numbers::share(blocks[place].per_token),
        ]);
    }
    table
}

fn outcomes(evaluation: &Evaluation) -> Table {
    let mut table = Table::new(&["gate", ">found", "95 % interval", ">limit", "result"]);
    for gate in &evaluation.gates {
        let result = gates::result(gate);
        let result = if gate.passed { result } else { format!("MISSED, {result}") };
        table.row([
            gate.gate.clone(),
            gates::value(gate),
            gates::interval(gate),
            gates::limit(gate),
            result,
        ]);
    }
    table
}

/// As many as one takes in at a glance; the last block comes on top.
const LAYERS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_comparison_is_told_from_the_models_to_the_gates() {
        assert_eq!(table(&sample::comparison()), COMPARISON);
    }

    #[test]
    fn a_model_alone_has_no_columns_for_a_reference() {
        assert_eq!(table(&sample::alone()), ALONE);
    }

    const COMPARISON: &str = include_str!("sample/comparison.txt");

    const ALONE: &str = include_str!("sample/alone.txt");
}
