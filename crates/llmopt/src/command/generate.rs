//! `llmopt generate`: prompts, and how the model goes on; requests, and their answers.

use crate::failure::Failure;
use crate::flags::{Generate, USUAL_TOKENS};
use crate::print::{self, Console};
use crate::progress::Progress;
use crate::{request, signal, units, vain};
use llmopt_pipeline::{
    AnswerOutput, AnswerRequest, Answered, Batching, DraftSource, Drafting, Generated,
    GenerationRequest, RequestSource, Sampling,
};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

pub(super) fn run(flags: &Generate) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    vain::of_generate(flags)?;
    match (&flags.requests, &flags.output) {
        (Some(requests), Some(output)) => answer(flags, requests, output, console),
        _ => generate(flags, console),
    }
}

fn generate(flags: &Generate, console: Console) -> Result<(), Failure> {
    let usual = Sampling::GREEDY;
    let request = GenerationRequest {
        model: flags.model.clone(),
        prompts: flags.prompts.clone(),
        chat: flags.chat,
        tokens: flags.tokens.unwrap_or(USUAL_TOKENS),
        sampling: Sampling {
            temperature: flags.temperature.unwrap_or(usual.temperature),
            top_k: flags.top_k,
            top_p: flags.top_p.unwrap_or(usual.top_p),
            min_p: flags.min_p.unwrap_or(usual.min_p),
            seed: flags.seed.unwrap_or(usual.seed),
        },
        stop: flags.stop.clone(),
        batching: batching(flags),
        draft: draft(flags),
        date: flags.date,
        precision: flags.compute.dtype.precision(),
        code_inputs: flags.compute.activations.codes(),
        kernel: request::kernel(&flags.compute.kernel)?,
    };
    let progress = Progress::begin(console, None);
    signal::watch(&progress, "stopping");
    let resources = request::resources(flags.memory, flags.compute.threads);
    let generated = llmopt_pipeline::generate(&request, resources, &*progress, &signal::CANCEL)?;
    if console.json { print::json(&generated) } else { print::data(&render(&generated)) }
}

fn answer(
    flags: &Generate,
    requests: &Path,
    output: &Path,
    console: Console,
) -> Result<(), Failure> {
    let request = AnswerRequest {
        model: flags.model.clone(),
        requests: match requests == Path::new(STANDARD) {
            true => RequestSource::Text(standard_input()?),
            false => RequestSource::File(requests.to_owned()),
        },
        batching: batching(flags),
        draft: draft(flags),
        date: flags.date,
        precision: flags.compute.dtype.precision(),
        code_inputs: flags.compute.activations.codes(),
        kernel: request::kernel(&flags.compute.kernel)?,
    };
    let progress = Progress::begin(console, None);
    signal::watch(&progress, "stopping; the same command goes on from here");
    let resources = request::resources(flags.memory, flags.compute.threads);
    let answer = |to| llmopt_pipeline::answer(&request, to, resources, &*progress, &signal::CANCEL);
    if output == Path::new(STANDARD) {
        let mut is_gone = false;
        let answered = answer(AnswerOutput::Lines(&mut |line| {
            let printed = print::line(line);
            is_gone = printed.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
            printed
        }));
        // A reader that has seen enough is no failure.
        return if is_gone { Ok(()) } else { Ok(answered.map(drop)?) };
    }
    let answered = answer(AnswerOutput::File { path: output.to_owned(), force: flags.force })?;
    drop(progress);
    match console {
        Console { json: true, .. } => print::json(&answered),
        Console { quiet: true, .. } => Ok(()),
        _ => print::data(&summary(output, answered)),
    }
}

/// `ngram` is no folder; `./ngram` would be one.
fn draft(flags: &Generate) -> Option<Drafting> {
    let source = |draft: &PathBuf| match draft == Path::new("ngram") {
        true => DraftSource::Ngram,
        false => DraftSource::Model(draft.clone()),
    };
    let drafting = |draft| Drafting { source: source(draft), length: flags.draft_length };
    flags.draft.as_ref().map(drafting)
}

fn batching(flags: &Generate) -> Batching {
    Batching { slots: flags.slots, chunk: flags.chunk }
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().read_to_string(&mut text);
    read.map(|_| text).map_err(Failure::StandardInput)
}

/// Each prompt and what followed it, an empty line between two.
fn render(generated: &[Generated]) -> String {
    let one = |generated: &Generated| format!("{}{}\n", generated.prompt, generated.text);
    generated.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn summary(output: &Path, answered: Answered) -> String {
    format!(
        "{}: {}, {}; {} after {} of prompts\n",
        output.display(),
        units::counted(answered.requests - answered.errors, "answer"),
        units::counted(answered.errors, "error"),
        units::counted(answered.completion_tokens as usize, "token"),
        answered.prompt_tokens,
    )
}

/// What stands for standard input and output.
const STANDARD: &str = "-";
