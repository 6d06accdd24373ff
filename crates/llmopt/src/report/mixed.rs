//! What each unit got and why: on a terminal, and for a page.

use super::numbers::{interval, significant};
use super::{FileOf, html, judged_on};
use crate::failure::Refusal;
use crate::print::{self, Table};
use crate::units;
use llmopt_pipeline::{Goal, MixedCandidate, MixedReport, MixedUnit, Report};
use std::collections::BTreeMap;
use std::path::Path;

/// The file that a report of mixed precision goes to.
pub(crate) fn mixed_file(path: &Path) -> Result<FileOf<Report>, Refusal> {
    FileOf::new(
        path,
        "of mixed precision",
        &[("json", |report| print::document(report)), ("html", |report| Ok(html::mixed(report)))],
    )
}

/// The tables of a terminal.
pub(crate) fn mixed(mixed: &MixedReport) -> String {
    format!("{}\n{}", depth(&mixed.units), tried(&mixed.candidates))
}

/// What was asked for, what was taken, and what it was judged on.
pub(crate) fn mixed_facts(mixed: &MixedReport) -> Vec<(&'static str, String)> {
    let taken = match mixed.is_uniform {
        false => format!("{}, solved for", mixed.chosen),
        true => format!("{}: no allocation was better beyond the interval", mixed.chosen),
    };
    vec![
        ("goal", goal(mixed.goal)),
        ("taken", taken),
        ("judged", judged_on(&mixed.judged_on)),
        ("probed", units::counted(mixed.probing_tokens, "token")),
    ]
}

/// A goal in words.
pub(crate) fn goal(goal: Goal) -> String {
    match goal {
        Goal::Size(bytes) => format!("at most {} bytes of all files", units::count(bytes)),
        Goal::BitsPerWeight(bits) => format!("at most {bits} bits for each parameter of the model"),
        Goal::Kld(nats) => format!("a KL divergence of at most {nats}, upper end of its interval"),
    }
}

/// Bits of every unit, a line for each layer; units that span layers stand alone.
fn depth(units: &[MixedUnit]) -> String {
    let mut layers: BTreeMap<Option<usize>, Vec<&MixedUnit>> = BTreeMap::new();
    units.iter().for_each(|unit| layers.entry(unit.layer).or_default().push(unit));
    let mut table =
        Table::new(&["layer", "units, with what a probe of each cost, in 1e-6 nats", "bits"]);
    for (layer, units) in layers {
        let told = units.iter().map(|unit| {
            format!("{} {} ({:.1})", short(&unit.name), unit.choice, unit.probe_kld * 1e6)
        });
        let bits = units.iter().map(|unit| bar(unit.bits));
        table.row([
            layer.map_or_else(String::new, |layer| layer.to_string()),
            told.collect::<Vec<_>>().join(", "),
            bits.collect::<Vec<_>>().join(" "),
        ]);
    }
    table.to_string()
}

/// The last part of a module's path.
pub(super) fn short(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// A sign for each bit.
fn bar(bits: f64) -> String {
    let count = (bits.round() as usize).min(WIDEST);
    format!("{}{}", "#".repeat(count), ".".repeat(WIDEST - count))
}

/// Everything that was measured.
fn tried(candidates: &[MixedCandidate]) -> String {
    let mut table = Table::new(&CANDIDATE);
    candidates.iter().for_each(|candidate| table.row(cells(candidate)));
    table.to_string()
}

/// The headings of [`cells`].
pub(super) const CANDIDATE: [&str; 6] =
    ["allocation", "codes", ">bytes of units", ">expected", ">KL divergence", "95 % interval"];

/// What a row says of a candidate.
pub(super) fn cells(candidate: &MixedCandidate) -> Vec<String> {
    vec![
        candidate.name.clone(),
        if candidate.solved { "solved for" } else { "composed" }.to_owned(),
        units::count(candidate.bytes),
        candidate.expected.map_or_else(String::new, nats),
        nats(candidate.kld.value),
        interval(&candidate.kld, nats),
    ]
}

fn nats(value: f64) -> String {
    significant(value, 3)
}

/// Signs of a bar: an unquantized unit fills it.
const WIDEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_layer_has_a_line_with_its_units() {
        let text = mixed(&sample::mixed());
        let layer = "0      qkv_proj w4a16-g32 (41.7), down_proj w6a16 (341.5)";
        assert!(text.contains(layer), "{text}");
        assert!(text.contains("#####........... ######.........."), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("_proj")).count(), 2, "{text}");
    }

    #[test]
    fn candidates_stand_beside_each_other() {
        let text = mixed(&sample::mixed());
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(" to ")).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("table, trust 1") && lines[0].contains("composed"), "{text}");
        assert!(lines[1].contains("solved for") && lines[1].contains("0.00111"), "{text}");
    }

    #[test]
    fn a_uniform_choice_that_was_not_beaten_is_told_as_such() {
        let taken = |report: &MixedReport| mixed_facts(report)[1].1.clone();
        let mut report = sample::mixed();
        assert_eq!(taken(&report), "table, trust 1, solved for");
        (report.is_uniform, report.chosen) = (true, "uniform w4a16".to_owned());
        assert_eq!(taken(&report), "uniform w4a16: no allocation was better beyond the interval");
    }
}
