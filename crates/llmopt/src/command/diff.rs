//! `llmopt diff`: two models side by side.

use crate::failure::Failure;
use crate::flags::Diff;
use crate::print::{self, Table};
use crate::progress::Progress;
use crate::{request, signal, units};
use llmopt_pipeline::{
    Difference, Estimate, GateDifference, ModelSide, QualityDifference, StoredTensor,
    TensorDifference, kind_label, kind_pattern,
};
use std::collections::BTreeMap;
use std::fmt::Write;

pub(super) fn run(flags: &Diff) -> Result<(), Failure> {
    let console = flags.console.console(false);
    let resources = request::resources(flags.memory, flags.threads);
    let progress = Progress::begin(console, None);
    signal::watch(&progress, "stopping");
    let models = (flags.a.as_path(), flags.b.as_path());
    let found =
        llmopt_pipeline::differ(models, flags.quick, resources, &*progress, &signal::CANCEL)?;
    drop(progress);
    match console.json {
        true => print::json(&found),
        false => print::data(&render(&found, flags.all)),
    }
}

fn render(found: &Difference, all: bool) -> String {
    let mut text = facts(found);
    let mut section = |table: Table| {
        if !table.is_empty() {
            let _ = write!(text, "\n{table}");
        }
    };
    section(kinds(&found.tensors));
    section(if all { listed(found.tensors.iter()) } else { worst(&found.tensors) });
    section(config(found));
    if let Some(quality) = &found.quality {
        section(metrics(quality));
        section(gates(quality));
    }
    text
}

/// Both as a whole.
fn facts(found: &Difference) -> String {
    let Difference { a, b, tensors, .. } = found;
    let [only_a, only_b] = [
        tensors.iter().filter(|tensor| tensor.b.is_none()).count(),
        tensors.iter().filter(|tensor| tensor.a.is_none()).count(),
    ];
    let both = tensors.len() - only_a - only_b;
    let cut = tensors.iter().filter(|tensor| is_cut(tensor)).count();
    let mut facts = vec![
        ("A", side(a)),
        ("B", side(b)),
        ("size", format!("A has {} of the bytes of B", units::share(a.bytes, b.bytes))),
        (
            "tensors",
            format!(
                "{} in both, {} of them of another shape; {} only in A, {} only in B",
                units::count(both as u64),
                units::count(cut as u64),
                units::count(only_a as u64),
                units::count(only_b as u64)
            ),
        ),
    ];
    if let Some(error) = found.relative_error {
        facts.push((
            "error",
            format!("{}, |A - B| / |B| over all weights of one shape", units::percent(error)),
        ));
    }
    if let Some(quality) = &found.quality {
        let windows = units::counted(quality.windows as usize, "window");
        facts.push(("quality", format!("both measured on {windows} of `{}`", quality.text)));
    }
    facts.extend(found.notes.iter().map(|note| ("note", note.clone())));
    print::facts(&facts)
}

fn side(side: &ModelSide) -> String {
    format!(
        "`{}`, {}, {:.2} bits per weight, {} parameters in {}",
        side.name,
        units::bytes(side.bytes),
        side.bits_per_weight,
        units::count(side.parameters),
        units::counted(side.layers, "layer")
    )
}

/// Tensors that differ in the numbers of layers and experts alone, stored alike.
#[derive(Default)]
struct Kind<'a> {
    tensors: usize,
    bytes: [u64; 2],
    /// The tensor with the greatest error.
    worst: Option<&'a TensorDifference>,
}

/// Each kind of tensor, as A and B store it.
fn kinds(tensors: &[TensorDifference]) -> Table {
    let mut kinds: BTreeMap<(String, [String; 2]), Kind<'_>> = BTreeMap::new();
    for tensor in tensors {
        let stored =
            [&tensor.a, &tensor.b].map(|side| side.as_ref().map_or("-", stored).to_owned());
        let label = kind_label(&kind_pattern(&tensor.name)).to_owned();
        let kind = kinds.entry((label, stored)).or_default();
        kind.tensors += 1;
        for (sum, side) in kind.bytes.iter_mut().zip([&tensor.a, &tensor.b]) {
            *sum += bytes_of(side);
        }
        let is_worse = kind.worst.is_none_or(|worst| tensor.relative_error > worst.relative_error);
        kind.worst = if is_worse { Some(tensor) } else { kind.worst };
    }
    let mut table =
        Table::new(&["kind", "A", "B", ">tensors", ">size of A", ">size of B", ">greatest error"]);
    for ((label, [a, b]), kind) in kinds {
        let [in_a, in_b] = kind.bytes.map(units::bytes);
        let error = kind.worst.map(error).unwrap_or_default();
        table.row([label, a, b, units::count(kind.tensors as u64), in_a, in_b, error]);
    }
    table
}

/// The tensors with the greatest errors. Those without any are not among them.
fn worst(tensors: &[TensorDifference]) -> Table {
    let mut worst: Vec<&TensorDifference> =
        tensors.iter().filter(|tensor| tensor.relative_error > Some(0.0)).collect();
    let error = |tensor: &TensorDifference| tensor.relative_error.unwrap_or(0.0);
    worst.sort_by(|a, b| error(b).total_cmp(&error(a)));
    listed(worst.into_iter().take(WORST))
}

fn listed<'a>(tensors: impl Iterator<Item = &'a TensorDifference>) -> Table {
    let mut table = Table::new(&["tensor", "A", "B", ">bytes of A", ">bytes of B", ">error"]);
    for tensor in tensors {
        let both = is_cut(tensor);
        let shown = |side: &Option<StoredTensor>| match side {
            None => "-".to_owned(),
            Some(side) if both => format!("{} {:?}", stored(side), side.shape),
            Some(side) => stored(side).to_owned(),
        };
        let name = match &tensor.name_in_a {
            Some(now) => format!("{} (in A {now})", tensor.name),
            None => tensor.name.clone(),
        };
        table.row([
            name,
            shown(&tensor.a),
            shown(&tensor.b),
            units::count(bytes_of(&tensor.a)),
            units::count(bytes_of(&tensor.b)),
            error(tensor),
        ]);
    }
    table
}

fn stored(side: &StoredTensor) -> &str {
    &side.stored
}

fn bytes_of(side: &Option<StoredTensor>) -> u64 {
    side.as_ref().map_or(0, |side| side.bytes)
}

/// Whether both have it, in another shape.
fn is_cut(tensor: &TensorDifference) -> bool {
    match (&tensor.a, &tensor.b) {
        (Some(a), Some(b)) => a.shape != b.shape,
        _ => false,
    }
}

fn error(tensor: &TensorDifference) -> String {
    match tensor.relative_error {
        Some(error) => units::percent(error),
        None if is_cut(tensor) => "another shape".to_owned(),
        None => "-".to_owned(),
    }
}

fn config(found: &Difference) -> Table {
    let mut table = Table::new(&["config.json", "A", "B"]);
    let shown = |value: &Option<serde_json::Value>| match value {
        Some(value) => shortened(&value.to_string()),
        None => "-".to_owned(),
    };
    for difference in &found.config {
        table.row([difference.key.clone(), shown(&difference.a), shown(&difference.b)]);
    }
    table
}

/// The beginning of a text that is too long for a column.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(WIDEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

fn metrics(quality: &QualityDifference) -> Table {
    let mut table = Table::new(&["metric", ">A", "interval of A", ">B", "interval of B"]);
    let cells = |estimate: &Option<Estimate>| match estimate {
        None => ["-".to_owned(), String::new()],
        Some(Estimate { value, low, high }) => {
            [format!("{value:.5}"), format!("{low:.5} to {high:.5}")]
        }
    };
    for metric in &quality.metrics {
        let [a, of_a] = cells(&metric.a);
        let [b, of_b] = cells(&metric.b);
        table.row([metric.metric.to_owned(), a, of_a, b, of_b]);
    }
    table
}

fn gates(quality: &QualityDifference) -> Table {
    let mut table = Table::new(&["gate of B", ">A", ">B", "would A keep it"]);
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.5}"));
    for gate in &quality.gates {
        table.row([gate.gate.clone(), number(gate.a), number(gate.b), kept(gate).to_owned()]);
    }
    table
}

fn kept(gate: &GateDifference) -> &'static str {
    match (gate.a_passed, gate.b_passed) {
        (Some(true), _) => "yes",
        (Some(false), Some(true)) => "no, it would miss it now",
        (Some(false), _) => "no",
        (None, _) => "not known",
    }
}

/// So many of the worst tensors are shown.
const WORST: usize = 10;
/// Characters of a config's value.
const WIDEST: usize = 40;
