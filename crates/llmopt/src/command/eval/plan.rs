//! The plan of an evaluation as a person reads it.

use crate::print;
use crate::timing::Timing;
use crate::units;
use llmopt_pipeline::EvaluationSummary;

/// The whole plan; without the time, where that is told of more.
pub(super) fn render(summary: &EvaluationSummary, timing: Option<&Timing>) -> String {
    let (memory, protocol) = (&summary.memory, &summary.protocol);
    let mut facts = vec![("artifact", format!("`{}`", summary.artifact))];
    facts.extend(summary.reference.as_ref().map(|name| ("against", format!("`{name}`"))));
    if let Some(text) = &protocol.text {
        let windows = &text.windows;
        facts.push((
            "text",
            format!(
                "`{}`, {} of {} tokens",
                text.name,
                units::counted(windows.windows, "window"),
                units::count(windows.window as u64)
            ),
        ));
    }
    if let Some(tasks) = &protocol.tasks {
        let questions = units::counted(tasks.questions, "question");
        facts.push(("tasks", format!("`{}`, {questions}", tasks.name)));
    }
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
