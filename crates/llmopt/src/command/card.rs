//! `llmopt card`: the model card of an artifact, printed, or written into it.

use crate::current::Input;
use crate::failure::{Failure, Refusal};
use crate::flags::Card;
use crate::print::{self, Console};
use crate::report;
use crate::report::card::{self, CardRequest, evaluation, evaluation_in};
use llmopt_pipeline::is_repository;
use serde_json::json;

pub(super) fn run(flags: &Card) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    check_base(flags)?;
    let input = Input::of(flags.artifact.as_deref(), console)?;
    let file = flags.output.as_deref().filter(|path| path.as_os_str() != "-");
    let file = file.map(report::pending).transpose()?;
    let evaluation = match &flags.evaluation {
        Some(path) => Some(evaluation(path)?),
        None => evaluation_in(&input.path)?,
    };
    let card = card::Card::of(
        &input.path,
        &CardRequest {
            base_model: flags.base_model.as_deref(),
            evaluation: evaluation.as_ref(),
            ..CardRequest::default()
        },
    )?;
    card.notes().iter().for_each(|note| say("note", note, console));
    match file {
        Some(file) => report::publish(file, card.text()),
        None if flags.write => {
            let path = input.path.join(card::CARD);
            card.write(&[])?;
            say("wrote", &format!("`{}`", path.display()), console);
            Ok(())
        }
        None if console.json => print::json(&json!({ "card": card.text() })),
        None => print::content(card.text()),
    }
}

fn say(what: &str, text: &str, console: Console) {
    match console {
        Console { json: true, .. } => {
            print::event(&json!({ "event": "note", "text": format!("{what}: {text}") }));
        }
        Console { quiet: true, .. } => {}
        _ => print::say(&format!("{what}  {text}")),
    }
}

/// What stands in `base_model` must be a name that the hub takes.
fn check_base(flags: &Card) -> Result<(), Refusal> {
    match flags.base_model.as_deref() {
        Some(name) if !is_repository(name) => Err(Refusal::new(
            format!("`--base-model {name}` is no name of a model on the Hugging Face hub"),
            "it is `owner/name`, as in `meta-llama/Llama-3.1-8B`",
        )),
        _ => Ok(()),
    }
}
