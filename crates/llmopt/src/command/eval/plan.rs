//! The plan of an evaluation as a person reads it.

use crate::print;
use crate::timing::Timing;
use crate::units;
use llmopt_pipeline::{EvaluationSummary, TaskProtocol, TextProtocol};

/// The whole plan; without the time, where that is told of more.
pub(super) fn render(summary: &EvaluationSummary, timing: Option<&Timing>) -> String {
    let (memory, protocol) = (&summary.memory, &summary.protocol);
    let mut facts = vec![("artifact", format!("`{}`", summary.artifact))];
    facts.extend(summary.reference.as_ref().map(|name| ("against", format!("`{name}`"))));
    let text = |text: &TextProtocol| {
        let windows = &text.windows;
        let counted = units::counted(windows.windows, "window");
        format!("`{}`, {counted} of {} tokens", text.name, units::count(windows.window as u64))
    };
    let tasks = |tasks: &TaskProtocol| {
        format!("`{}`, {}", tasks.name, units::counted(tasks.questions, "question"))
    };
    match &summary.texts[..] {
        [] => facts.extend(protocol.text.as_ref().map(|of| ("text", text(of)))),
        all => facts
            .extend(all.iter().map(|of| ("text", format!("{}: {}", of.name, text(&of.protocol))))),
    }
    match &summary.tasks[..] {
        [] => facts.extend(protocol.tasks.as_ref().map(|of| ("tasks", tasks(of)))),
        all => facts.extend(
            all.iter().map(|of| ("tasks", format!("{}: {}", of.name, tasks(&of.protocol)))),
        ),
    }
    facts.extend(summary.most_windows.map(|most| {
        let most = units::counted(most, "window");
        ("unsure", format!("while a gate is, up to {most} of text are taken in all"))
    }));
    facts.push(("compute", format!("in {}, by {}", protocol.dtype, protocol.kernel)));
    facts.push((
        "tokens",
        format!(
            "{} in {}",
            units::count(summary.tokens as u64),
            units::counted(summary.sequences, "sequence")
        ),
    ));
    let held = if memory.spills { "in a scratch file" } else { "in memory" };
    facts.push((
        "memory",
        format!(
            "at most {} of {}; {} would do; {} of hidden states {held}",
            units::bytes(memory.predicted_peak),
            units::bytes(memory.budget),
            units::bytes(memory.smallest),
            units::bytes(memory.hidden_bytes)
        ),
    ));
    facts.extend(timing.map(|timing| ("time", timing.render())));
    facts.extend(summary.gates.iter().map(|gate| ("gate", gate.clone())));
    facts.extend(summary.notes.iter().map(|note| ("note", note.clone())));
    print::facts(&facts)
}
