//! An artifact as a person reads it: bits per weight, how each kind of matrix is stored, and how it was
//! made.

use crate::print::Table;
use crate::units;
use llmopt_pipeline::{
    ArtifactFacts, Inspection, MatrixKind, RecordFacts, RecordedCalibration, RecordedPruning,
    SourceFacts,
};

/// A line: its name, and what it says.
type Fact = (&'static str, String);

/// The layouts of its quantized matrices, behind what they are quantized by.
pub(super) fn formats(inspection: &Inspection) -> String {
    let formats = inspection.artifact.iter().flat_map(|artifact| &artifact.formats);
    formats.map(|format| format!(", {format}")).collect()
}

/// What there is to say of the whole.
pub(super) fn facts(artifact: &ArtifactFacts) -> Vec<Fact> {
    let mut facts = Vec::new();
    facts.extend(unsound(artifact));
    facts.extend(bits(artifact));
    match (&artifact.record, &artifact.record_unreadable) {
        (Some(record), _) => facts.extend(made(record)),
        (None, Some(why)) => facts.push(("record", format!("none that can be read: {why}"))),
        (None, None) => facts.push((
            "record",
            "none: only the report that llmopt writes beside an artifact tells method and calibration"
                .to_owned(),
        )),
    }
    facts
}

/// Each kind of matrix and how it is stored.
pub(super) fn matrices(artifact: &ArtifactFacts) -> Table {
    let mut table = Table::new(&[
        "matrix",
        "scheme",
        ">count",
        ">parameters",
        ">size",
        ">bits per weight",
        "note",
    ]);
    for kind in &artifact.matrices {
        let scheme = match kind.is_quantized {
            true => kind.scheme.clone(),
            false => format!("dense, {}", kind.scheme),
        };
        table.row([
            kind.kind.clone(),
            scheme,
            units::count(kind.stored.tensors as u64),
            units::count(kind.stored.parameters),
            units::bytes(kind.stored.bytes),
            format!("{:.2}", kind.stored.bits_per_weight),
            note(kind),
        ]);
    }
    table
}

/// The methods that chose codes, and whatever else is to be known.
fn note(kind: &MatrixKind) -> String {
    let only = kind.methods.len() == 1 && kind.methods.values().all(|n| *n == kind.stored.tensors);
    let render = |(method, count): (&String, &usize)| match only {
        true => method.clone(),
        false => format!("{method} x {count}"),
    };
    let methods: Vec<String> = kind.methods.iter().map(render).collect();
    let fallback = kind.fallback.iter().map(|why| format!("fallback: {why}"));
    methods.into_iter().chain(kind.done.clone()).chain(fallback).collect::<Vec<_>>().join("; ")
}

fn unsound(artifact: &ArtifactFacts) -> Option<Fact> {
    let first = artifact.faults.first()?;
    let faults = units::counted(artifact.faults.len(), "fault");
    Some((
        "unsound",
        format!(
            "{faults} keep loaders from reading it as it is meant, the first in `{}`: {}; `llmopt \
             verify` lists them. Parameters are the elements in the file",
            first.subject, first.message
        ),
    ))
}

fn bits(artifact: &ArtifactFacts) -> Option<Fact> {
    let (linears, all) = (&artifact.linears, &artifact.all);
    let quantized = match artifact.quantized.tensors {
        0 => String::new(),
        matrices => format!(
            "{:.2} per weight of the {} that are quantized, ",
            artifact.quantized.bits_per_weight,
            units::matrices(matrices)
        ),
    };
    (all.tensors > 0).then(|| {
        let text = format!(
            "{quantized}{:.2} of all linears, {:.2} of all parameters",
            linears.bits_per_weight, all.bits_per_weight
        );
        ("bits", text)
    })
}

/// How it was made.
fn made(record: &RecordFacts) -> Vec<Fact> {
    let RecordFacts { tool, version, command, file, .. } = record;
    let mut facts =
        vec![("made by", format!("`{tool} {command}`, version {version}, says `{file}`"))];
    if !record.sizes_agree {
        facts.push((
            "note",
            format!("`{file}` lists weight files of other sizes: it may be another artifact's"),
        ));
    }
    facts.extend(record.compressed_tensors.as_ref().map(|oldest| {
        ("needs", format!("compressed-tensors {oldest} or newer to be unpacked as it is meant"))
    }));
    facts.extend(record.pruned.as_ref().map(|pruned| ("removed", removed(pruned))));
    facts.push(("method", method(record)));
    facts.extend(record.smoothed.as_ref().map(|smoothed| {
        // A name, or a strength.
        let scales = smoothed.as_str().map_or_else(|| smoothed.to_string(), str::to_owned);
        ("smoothed", format!("inputs, by scales of `--smooth {scales}`"))
    }));
    facts.push(match &record.calibration {
        Some(calibration) => ("calibration", observed(calibration)),
        None => ("calibration", "none: weights alone decided".to_owned()),
    });
    let notes = record.calibration.iter().flat_map(|calibration| &calibration.data.notes);
    facts.extend(notes.map(|note| ("note", note.clone())));
    facts
}

fn removed(pruned: &RecordedPruning) -> String {
    format!(
        "{} of the blocks' {} parameters along {}",
        units::percent(pruned.sparsity),
        units::count(pruned.block_parameters),
        pruned.axes.join(" and ")
    )
}

fn method(record: &RecordFacts) -> String {
    let scheme = record.scheme.iter().map(|scheme| format!("{scheme} by "));
    let requested = scheme.chain([record.method.clone()]).collect::<String>();
    let refitted = match &record.pruned {
        Some(pruned) if pruned.refit => ", what reads it refitted",
        _ => "",
    };
    let decision = record.decision.as_ref().map(|decision| {
        let what = match record.pruned {
            Some(_) => format!("; {} is", decision.chosen),
            None => ",".to_owned(),
        };
        let windows = units::counted(decision.windows, "window");
        format!("{what} the best of {} on {windows} held out", decision.candidates.join(", "))
    });
    format!("{requested}{refitted}{}", decision.unwrap_or_default())
}

/// The data, and what computed with them.
fn observed(calibration: &RecordedCalibration) -> String {
    let RecordedCalibration { kernel, data } = calibration;
    let sources: Vec<String> = data.sources.iter().map(source).collect();
    let saved: Vec<&str> = data.statistics.iter().map(|file| file.name.as_str()).collect();
    let from = if saved.is_empty() { String::new() } else { format!("{}: ", saved.join(", ")) };
    format!(
        "{from}{} of {} tokens ({} in all) of {}, {kernel}",
        units::counted(data.windows, "window"),
        units::count(data.window as u64),
        units::counted(data.windows.saturating_mul(data.window), "token"),
        sources.join(", ")
    )
}

fn source(source: &SourceFacts) -> String {
    match source.seed {
        Some(seed) => format!("{} (seed {seed})", source.name),
        None => source.name.clone(),
    }
}
