//! Answers to a file of requests, in the form of OpenAI's batch files that vLLM's `run-batch` reads and
//! writes.
//!
//! Answers are written in the order of the requests, each as soon as those before it are, so that equal
//! requests give equal bytes and a run that was killed goes on where it stopped.

mod body;
mod identity;
mod line;
mod ordered;
mod prepare;
mod response;
mod work;

use crate::compute;
use crate::generation::draft::{Draft, Drafting};
use crate::generation::speak::{Admission, Batching, Numbered};
use line::Line;
use llmopt_checkpoint::{GrowingFile, is_inside, read_text};
use llmopt_data::Folder;
use llmopt_forward::Engine;
use llmopt_linalg::{InputCodes, KernelChoice, Precision};
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error, Events, Resources, on_threads};
use llmopt_text::Date;
pub use ordered::Answered;
use ordered::{InOrder, Sink};
use response::Responses;
use std::io;
use std::path::PathBuf;
use work::Work;

/// What to answer, and how.
#[derive(Clone, Debug)]
pub struct AnswerRequest {
    /// The model: dense, or an artifact.
    pub model: PathBuf,
    /// A request on each line.
    pub requests: RequestSource,
    /// How many go through the model together. No answer depends on it.
    pub batching: Batching,
    /// What proposes tokens; no answer depends on it.
    pub draft: Option<Drafting>,
    /// The day that a chat template may ask for.
    pub date: Option<Date>,
    /// What products are computed in.
    pub precision: Precision,
    /// What inputs are rounded to where a weight is integer codes, unless the scheme says so itself.
    pub code_inputs: InputCodes,
    /// What computes them.
    pub kernel: KernelChoice,
}

/// Where requests come from.
#[derive(Clone, Debug)]
pub enum RequestSource {
    /// A file.
    File(PathBuf),
    /// Standard input, read already.
    Text(String),
}

/// Where answers go.
pub enum AnswerOutput<'a> {
    /// To a file, which has its name once it is whole. What a killed run has answered is kept.
    File {
        /// Its name.
        path: PathBuf,
        /// Whether it replaces a file of that name.
        force: bool,
    },
    /// To someone who takes line by line.
    Lines(&'a mut (dyn FnMut(&str) -> io::Result<()> + Send)),
}

/// Answers every request. One that cannot be answered gets an error in place of a response.
///
/// # Errors
/// If a line is no request at all, the model cannot be read or does not fit in memory, or answers cannot
/// be written.
pub fn answer<'a>(
    request: &AnswerRequest,
    output: AnswerOutput<'a>,
    resources: Resources,
    events: &'a dyn Events,
    cancel: &Cancel,
) -> Result<Answered, Error> {
    let gemm = compute::gemm(request.precision, request.kernel, request.code_inputs)?;
    let text = request.requests.text()?;
    let mut lines = line::parsed(&text, &request.requests.name())?;
    let variant = Variant::open(&request.model)?;
    compute::check_code_inputs(gemm, &[&variant])?;
    let folder = Folder::read(&variant)?;
    let (sink, written) = opened(request, output, &text, &variant)?;
    drop(text);
    let mut answers = InOrder::new(&lines, sink, events);
    answers.resume(written)?;
    let responses = Responses::new(&lines, variant.name());
    let mut work = Work::new(&variant, &folder, responses, answers);
    let prompts = work.prompts(&mut lines, request.date)?;
    let engine = Engine::new(gemm);
    let held = held_bytes(&lines, &prompts);
    let draft =
        request.draft.as_ref().map(|drafting| Draft::open(drafting, &variant)).transpose()?;
    let speaking = (request.batching, draft.as_ref());
    let admission = Admission::new(&variant, &engine, prompts, speaking, held, resources)?;
    work.refuse(&admission.too_large)?;
    if !admission.is_empty() {
        let totals = on_threads(resources.threads, || {
            work.speak(admission, draft.as_ref(), &engine, cancel)
        })??;
        draft.iter().for_each(|_| events.note(&totals.to_string()));
    }
    work.finish()
}

/// Where answers go, and those that are there already.
fn opened<'a>(
    request: &AnswerRequest,
    output: AnswerOutput<'a>,
    text: &str,
    variant: &Variant,
) -> Result<(Sink<'a>, Vec<String>), Error> {
    let (path, force) = match output {
        AnswerOutput::File { path, force } => (path, force),
        AnswerOutput::Lines(take) => return Ok((Sink::Lines(take), Vec::new())),
    };
    if let RequestSource::File(requests) = &request.requests
        && is_inside(&path, requests)
    {
        return Err(Error::RefusedWithHint {
            what: format!("the output `{}` is the file of requests", path.display()),
            hint: "choose another place with `-o`".to_owned(),
        });
    }
    let identity = identity::of(request, text, variant)?;
    let (written, file) = GrowingFile::open(&path, &identity, force)?;
    Ok((Sink::File(file), written))
}

/// What requests take until they run.
fn held_bytes(lines: &[Line], prompts: &Numbered) -> u64 {
    let prompt = |(.., prompt): &(usize, u64, _)| prepare::held_bytes(prompt);
    let bytes = lines.iter().map(Line::held_bytes).sum::<usize>()
        + prompts.iter().map(prompt).sum::<usize>();
    bytes as u64
}

impl RequestSource {
    /// As messages call it.
    fn name(&self) -> String {
        match self {
            Self::File(path) => format!("`{}`", path.display()),
            Self::Text(_) => "standard input".to_owned(),
        }
    }

    fn text(&self) -> Result<String, Error> {
        match self {
            Self::File(path) => Ok(read_text(path, MOST_BYTES)?),
            Self::Text(text) => Ok(text.clone()),
        }
    }
}

/// Of a file of requests.
const MOST_BYTES: u64 = 1 << 30;
