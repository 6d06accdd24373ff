//! What a request for an evaluation cannot ask for: refused before any file is opened.

use crate::evaluation::named::NamedFile;
use crate::evaluation::request::EvaluationRequest;
use llmopt_eval::{Gate, Needs, is_part_name};
use llmopt_run::Error;

/// Checks the request by itself.
///
/// # Errors
/// If nothing would be measured, a gate is on something that is not, names are missing or double, or more
/// windows are asked for in a way that cannot be.
pub(super) fn check(request: &EvaluationRequest) -> Result<(), Error> {
    if request.texts.is_empty() && request.tasks.is_empty() {
        return Err(refused(
            "there is nothing to measure on",
            "`--text` gives a text, `--tasks` questions",
        ));
    }
    check_names(request)?;
    check_amounts(request)?;
    request.gates.iter().try_for_each(|gate| check_gate(gate, request))
}

fn check_names(request: &EvaluationRequest) -> Result<(), Error> {
    let mut names: Vec<&str> = Vec::new();
    for (option, files) in [("--text", &request.texts), ("--tasks", &request.tasks)] {
        for NamedFile { name, path } in files {
            let path = path.display();
            match name.as_deref() {
                None if files.len() > 1 => {
                    return Err(refused(
                        format!("`{path}` has no name, and there are several of its kind"),
                        format!("give it one: `{option} NAME={path}`"),
                    ));
                }
                Some(name) if !is_part_name(name) => {
                    return Err(refused(
                        format!("`{name}` is no name for `{path}`"),
                        "names are letters, digits, `-` and `_`",
                    ));
                }
                Some(name) if names.contains(&name) => {
                    return Err(refused(
                        format!("there are two files of the name `{name}`"),
                        "each text and each file of questions has a name of its own",
                    ));
                }
                name => names.extend(name),
            }
        }
    }
    Ok(())
}

fn check_amounts(request: &EvaluationRequest) -> Result<(), Error> {
    let Some(most) = request.max_samples else { return Ok(()) };
    match request.samples {
        None => Err(refused(
            "`--max-samples` would do nothing here: all windows are taken from the start",
            "leave it out, or begin with fewer by `--samples`",
        )),
        Some(samples) if samples > most => Err(refused(
            format!("`--max-samples {most}` is less than `--samples {samples}`"),
            "a run begins with `--samples`, and takes up to `--max-samples` while a gate is unsure",
        )),
        _ if request.logits.is_some() => Err(refused(
            "`--max-samples` does not go with `--logits`: the file is laid out before it is known how many \
             windows there will be",
            "leave one of them out",
        )),
        _ => Ok(()),
    }
}

fn check_gate(gate: &Gate, request: &EvaluationRequest) -> Result<(), Error> {
    let metric = gate.metric();
    let has = |needs| provides(request, needs);
    if gate.is_relative() && request.baseline.is_none() {
        return Err(refused(
            format!("the gate `{gate}` is relative to a baseline, and there is none"),
            "`--baseline FILE.json` takes an evaluation that `llmopt eval --report FILE.json` wrote",
        ));
    }
    let options = match metric.needs() {
        needs if has(needs) => return check_part(gate, request),
        Needs::Artifact => return Ok(()),
        Needs::Text => "`--text`",
        Needs::TextAndReference if has(Needs::Text) => "`--against`",
        Needs::TextAndReference => "`--text` and `--against`",
        Needs::Tasks => "`--tasks`",
        Needs::TasksAndReference if has(Needs::Tasks) => "`--against`",
        Needs::TasksAndReference => "`--tasks` and `--against`",
    };
    Err(refused(
        format!("the gate `{gate}` is on `{metric}`, which this run does not compute"),
        format!("{options} would"),
    ))
}

fn check_part(gate: &Gate, request: &EvaluationRequest) -> Result<(), Error> {
    let Some(part) = gate.part() else { return Ok(()) };
    let (option, files) = match gate.metric().is_of_text() {
        true => ("--text", &request.texts),
        false => ("--tasks", &request.tasks),
    };
    let names: Vec<&str> = files.iter().filter_map(|file| file.name.as_deref()).collect();
    if names.contains(&part) {
        return Ok(());
    }
    let hint = match names.is_empty() {
        true => format!("`{option} {part}=FILE` gives a file that name"),
        false => format!("`{option}` has {}", names.join(", ")),
    };
    Err(refused(format!("the gate `{gate}` is on `{part}`, and no `{option}` has that name"), hint))
}

/// Whether this run computes what a metric needs.
fn provides(request: &EvaluationRequest, needs: Needs) -> bool {
    let (text, tasks) = (!request.texts.is_empty(), !request.tasks.is_empty());
    let against = request.against.is_some();
    match needs {
        Needs::Artifact => true,
        Needs::Text => text,
        Needs::TextAndReference => text && against,
        Needs::Tasks => tasks,
        Needs::TasksAndReference => tasks && against,
    }
}

/// A refusal, with what to do instead.
pub(super) fn refused(what: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::RefusedWithHint { what: what.into(), hint: hint.into() }
}
