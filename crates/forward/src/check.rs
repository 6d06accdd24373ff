//! Whether an operation's numbers agree with each other and with its taps.

use llmopt_arch::program::{Attention, Operation, Program, Rope, RopeScaling, Tap};

/// What is wrong with `operation`, so that nothing after this has to ask again.
pub(crate) fn fault(program: &Program, operation: &Operation) -> Option<String> {
    let (reads, writes) = (operation.reads(), operation.writes());
    let taps = reads.iter().chain(&writes);
    let unknown = taps.clone().find(|tap| tap.0 >= program.taps.len());
    let what = match unknown {
        Some(tap) => Some(format!("there is no tap {}", tap.0)),
        None => match taps.clone().find(|tap| program.width(**tap) == 0) {
            Some(tap) => Some(format!("{} has no columns", named(program, *tap))),
            None => of_operation(program, operation),
        },
    };
    what.map(|what| format!("{}: {what}", name(operation)))
}

fn of_operation(program: &Program, operation: &Operation) -> Option<String> {
    let same = |a: Tap, b: Tap| columns(program, a, program.width(b));
    match operation {
        Operation::Norm { input, output, width, .. } => {
            same(*output, *input).or_else(|| divides(program, *width, *input))
        }
        Operation::Linear(linear) => columns(program, linear.input, linear.columns)
            .or_else(|| columns(program, linear.output, linear.rows)),
        Operation::Split { input, outputs } => split(program, *input, outputs),
        Operation::Rotate { taps, head_width, rope } => taps
            .iter()
            .find_map(|tap| divides(program, *head_width, *tap))
            .or_else(|| of_rope(rope, *head_width)),
        Operation::Attend(attention) => of_attention(program, attention),
        Operation::Gate { gate, up, output, .. } => {
            same(*up, *gate).or_else(|| same(*output, *gate))
        }
        Operation::Add { input, output, .. } => same(*input, *output),
        Operation::Route { input, output, top, .. } => {
            let experts = program.width(*input);
            let possible = (1..=experts).contains(top);
            let impossible = || format!("{top} of {experts} experts cannot be chosen");
            same(*output, *input).or_else(|| (!possible).then(impossible))
        }
        Operation::Gather { input, routes, expert, output }
        | Operation::Scatter { input, routes, expert, output } => {
            let experts = program.width(*routes);
            let unknown = || format!("there is no expert {expert} among {experts}");
            same(*output, *input).or_else(|| (*expert >= experts).then(unknown))
        }
    }
}

fn columns(program: &Program, tap: Tap, expected: usize) -> Option<String> {
    let found = program.width(tap);
    let wrong = || format!("{} has {found} columns, expected {expected}", named(program, tap));
    (found != expected).then(wrong)
}

fn divides(program: &Program, width: usize, tap: Tap) -> Option<String> {
    let columns = program.width(tap);
    let cut = || {
        format!("{columns} columns of {} cannot be cut into runs of {width}", named(program, tap))
    };
    (!columns.is_multiple_of(width)).then(cut)
}

fn split(program: &Program, input: Tap, outputs: &[Tap]) -> Option<String> {
    let distinct = outputs.iter().enumerate().all(|(i, tap)| !outputs[..i].contains(tap));
    if !distinct || outputs.contains(&input) {
        return Some("a tap appears twice".to_owned());
    }
    columns(program, input, outputs.iter().map(|&tap| program.width(tap)).sum())
}

fn of_rope(rope: &Rope, head_width: usize) -> Option<String> {
    let width = rope.width;
    if !width.is_multiple_of(2) || width > head_width {
        return Some(format!(
            "{width} columns of a head of {head_width} cannot be turned in pairs"
        ));
    }
    match &rope.scaling {
        RopeScaling::Long { short, long, .. } => [short, long]
            .iter()
            .find(|factors| factors.len() != width / 2)
            .map(|factors| format!("{} factors for {} frequencies", factors.len(), width / 2)),
        _ => None,
    }
}

fn of_attention(program: &Program, attention: &Attention) -> Option<String> {
    let Attention { heads, key_value_heads, head_width, .. } = *attention;
    if key_value_heads == 0 || !heads.is_multiple_of(key_value_heads) {
        return Some(format!("{heads} heads cannot share {key_value_heads} keys and values"));
    }
    if attention.window == Some(0) {
        return Some("a window of no token".to_owned());
    }
    let queries = heads.saturating_mul(head_width);
    let keys = key_value_heads.saturating_mul(head_width);
    columns(program, attention.query, queries)
        .or_else(|| columns(program, attention.key, keys))
        .or_else(|| columns(program, attention.value, keys))
        .or_else(|| columns(program, attention.output, queries))
}

/// A tap as messages call it.
fn named(program: &Program, tap: Tap) -> String {
    format!("`{}`", program.taps[tap.0].name)
}

/// As messages call it.
pub(crate) fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Norm { .. } => "norm",
        Operation::Linear(_) => "linear",
        Operation::Split { .. } => "split",
        Operation::Rotate { .. } => "rotate",
        Operation::Attend(_) => "attend",
        Operation::Gate { .. } => "gate",
        Operation::Add { .. } => "add",
        Operation::Route { .. } => "route",
        Operation::Gather { .. } => "gather",
        Operation::Scatter { .. } => "scatter",
    }
}
