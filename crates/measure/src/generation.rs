//! Texts drawn from a model: how prompts go on, to see with one's own eyes that it still speaks, and
//! answers to a file of requests.
//!
//! The whole model is in memory; nothing is spilled.

mod draft;
mod filter;
mod generator;
mod loaded;
mod logprobs;
mod prompt;
mod requests;
mod sampler;
mod schedule;
mod sequence;
mod speak;
mod stop;

pub use draft::{DraftSource, Drafting};
pub use requests::{AnswerOutput, AnswerRequest, Answered, RequestSource, answer};
pub use sampler::Sampling;
pub use speak::Batching;

use crate::compute;
use draft::{Draft, Drafter};
pub(crate) use generator::Generator;
use llmopt_data::Folder;
use llmopt_forward::Engine;
use llmopt_linalg::{InputCodes, KernelChoice, Precision};
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error, Events, Resources, on_threads};
use llmopt_text::Date;
pub use loaded::WeightBytes;
pub(crate) use loaded::{Loaded, cache_bytes, fixed_bytes};
use prompt::Prompt;
pub(crate) use sampler::most_likely;
pub(crate) use schedule::Part;
use sequence::Spoken;
use serde::Serialize;
use speak::Admission;
use std::path::PathBuf;
use stop::Stops;

/// What to generate from.
#[derive(Clone, Debug)]
pub struct GenerationRequest {
    /// The model: dense, or an artifact.
    pub model: PathBuf,
    /// Texts to go on from.
    pub prompts: Vec<String>,
    /// Whether a prompt is a user's message in the folder's chat template.
    pub chat: bool,
    /// Tokens to generate at most.
    pub tokens: usize,
    /// How they are chosen.
    pub sampling: Sampling,
    /// A text ends before the first of these.
    pub stop: Vec<String>,
    /// How many go through the model together.
    pub batching: Batching,
    /// What proposes tokens; no text depends on it.
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

/// What a prompt became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Generated {
    /// The prompt, as it was tokenized.
    pub prompt: String,
    /// Its tokens.
    pub prompt_tokens: Vec<u32>,
    /// What followed.
    pub text: String,
    /// Its tokens, with those of the string that it stopped at.
    pub tokens: Vec<u32>,
    /// Whether the model ended it or came to a string to stop at; otherwise it was cut at the length asked
    /// for.
    pub ended: bool,
}

/// Goes on from every prompt, several of them at once.
///
/// # Errors
/// If the model cannot be read or does not fit in memory, a prompt is longer than the model's context,
/// or a template fails.
pub fn generate(
    request: &GenerationRequest,
    resources: Resources,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Vec<Generated>, Error> {
    let gemm = compute::gemm(request.precision, request.kernel, request.code_inputs)?;
    let variant = Variant::open(&request.model)?;
    compute::check_code_inputs(gemm, &[&variant])?;
    let draft =
        request.draft.as_ref().map(|drafting| Draft::open(drafting, &variant)).transpose()?;
    let folder = Folder::read(&variant)?;
    let (texts, prompts) = prompts(request, &folder)?;
    prompts.iter().try_for_each(|(.., prompt)| prompt.check(&variant))?;
    let engine = Engine::new(gemm);
    let speaking = (request.batching, draft.as_ref());
    let admission = Admission::new(&variant, &engine, prompts, speaking, 0, resources)?;
    if let Some(&smallest) = admission.too_large.iter().map(|(_, smallest)| smallest).max() {
        return Err(Error::Budget { given: resources.memory, smallest });
    }
    on_threads(resources.threads, || {
        let loaded = Loaded::read(&variant, &engine)?;
        let mut generated: Vec<Option<Generated>> = vec![None; texts.len()];
        let of_draft = draft.as_ref().map(|draft| draft.loaded(&engine)).transpose()?.flatten();
        let drafter = Drafter::with_pace(draft.as_ref(), of_draft.as_ref());
        let totals = admission.speak(&loaded, drafter, &folder, cancel, |number, spoken| {
            generated[number] = Some(outcome(&texts[number], spoken));
            Ok(0)
        })?;
        draft.iter().for_each(|_| events.note(&totals.to_string()));
        Ok(generated.into_iter().flatten().collect())
    })?
}

/// The prompts as texts and as tokens.
fn prompts(
    request: &GenerationRequest,
    folder: &Folder,
) -> Result<(Vec<String>, speak::Numbered), Error> {
    let (mut texts, mut prompts) = (Vec::new(), Vec::new());
    for (number, text) in request.prompts.iter().enumerate() {
        let text = if request.chat { folder.as_user(text, request.date)? } else { text.clone() };
        let prompt = Prompt {
            tokens: folder.prompt_tokens(&text, request.chat)?,
            most: request.tokens,
            sampling: request.sampling,
            stops: Stops::new(request.stop.clone()),
            logprobs: None,
        };
        texts.push(text);
        prompts.push((number, 0, prompt));
    }
    Ok((texts, prompts))
}

fn outcome(prompt: &str, spoken: Spoken) -> Generated {
    Generated {
        prompt: prompt.to_owned(),
        prompt_tokens: spoken.prompt_tokens,
        text: spoken.text,
        tokens: spoken.tokens,
        ended: spoken.ended,
    }
}
