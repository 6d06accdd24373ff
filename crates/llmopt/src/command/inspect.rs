//! `llmopt inspect`: what is in a checkpoint, from its headers alone.

mod artifact;

use crate::current::Input;
use crate::failure::Failure;
use crate::flags::Inspect;
use crate::print::{self, Table};
use crate::{passed, units};
use llmopt_pipeline::{Amount, Inspection};
use std::fmt::Write;

pub(super) fn run(flags: &Inspect) -> Result<(), Failure> {
    let input = Input::of(flags.model.as_deref(), flags.console.console(false))?;
    let inspection = llmopt_pipeline::inspect(&input.path)?;
    if flags.console.json {
        return print::json(&inspection);
    }
    print::data(&render(&inspection))
}

fn render(inspection: &Inspection) -> String {
    let mut text = facts(inspection);
    let mut shares = |table: Table| {
        if !table.is_empty() {
            let _ = write!(text, "\n{table}");
        }
    };
    shares(amounts("role", &inspection.roles));
    match &inspection.artifact {
        Some(artifact) if !artifact.matrices.is_empty() => shares(artifact::matrices(artifact)),
        _ => shares(amounts("dtype", &inspection.dtypes)),
    }
    shares(schemes(inspection));
    text
}

fn facts(inspection: &Inspection) -> String {
    let mut facts = vec![("model", format!("`{}`", inspection.path))];
    facts.push(("family", family(inspection)));
    facts.push(("layers", units::count(inspection.layers as u64)));
    facts.push(("parameters", units::count(inspection.parameters)));
    let shards = units::counted(inspection.shards.len(), "shard");
    facts.push(("size", format!("{} in {shards}", units::bytes(inspection.bytes))));
    if let Some((embedding, head)) = &inspection.tied {
        let differ = match inspection.tied_differ {
            true => " by the config, but differs from it in the file: runtimes disagree",
            false => "",
        };
        facts.push(("tied", format!("`{head}` is `{embedding}`{differ}")));
    }
    facts.extend(inspection.notes.iter().map(|note| ("note", note.clone())));
    if let Some(method) = &inspection.quantization {
        facts.push((
            "quantized",
            format!("already, by `{method}`{}", artifact::formats(inspection)),
        ));
    }
    facts.extend(inspection.artifact.iter().flat_map(artifact::facts));
    let can = &inspection.quantizable;
    if can.tensors > 0 {
        facts.push((
            "quantizable",
            format!(
                "{} parameters in {}, {} of the size",
                units::count(can.parameters),
                units::matrices(can.tensors),
                units::share(can.bytes, inspection.bytes)
            ),
        ));
    }
    facts.extend(passed::stacked(inspection.stacked_experts.as_ref(), inspection.parameters));
    facts.extend(passed::unknown(inspection.unknown_tensors.as_ref()));
    print::facts(&facts)
}

fn family(inspection: &Inspection) -> String {
    match (&inspection.family, &inspection.model_type) {
        (Some(family), Some(model_type)) if family != model_type => {
            format!("{family} (`model_type` is `{model_type}`)")
        }
        (Some(family), _) => family.clone(),
        (None, Some(model_type)) => format!("unknown: `model_type` is `{model_type}`"),
        (None, None) => "unknown: there is no config".to_owned(),
    }
}

fn amounts(heading: &'static str, amounts: &[Amount]) -> Table {
    let mut table = Table::new(&[heading, ">tensors", ">parameters", ">size"]);
    for amount in amounts {
        table.row([
            amount.what.clone(),
            units::count(amount.tensors as u64),
            units::count(amount.parameters),
            units::bytes(amount.bytes),
        ]);
    }
    table
}

fn schemes(inspection: &Inspection) -> Table {
    let mut table = Table::new(&["scheme", ">size", ">share", ">bits per weight", "note"]);
    for scheme in &inspection.schemes {
        table.row([
            &scheme.scheme,
            &units::bytes(scheme.bytes),
            &units::percent(scheme.share),
            &format!("{:.2}", scheme.bits_per_weight),
            &scheme.refused.as_deref().map(in_a_cell).unwrap_or_default(),
        ]);
    }
    table
}

/// The lines of an error beside each other.
fn in_a_cell(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}
