//! Tokens drawn from a model, to see with one's own eyes that it still speaks.
//!
//! The whole model is in memory; nothing is spilled.

mod loaded;
mod sampler;

use crate::compute;
use llmopt_data::Folder;
use llmopt_forward::Engine;
use llmopt_linalg::{InputCodes, KernelChoice, Precision};
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error, Resources, on_threads};
use llmopt_text::Date;
pub use loaded::WeightBytes;
pub(crate) use loaded::{Generator, Loaded, needed};
use sampler::Sampler;
pub(crate) use sampler::most_likely;
use serde::Serialize;
use std::path::PathBuf;

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
    /// 0 takes the most likely token every time; above, tokens are drawn.
    pub temperature: f64,
    /// What decides the draws.
    pub seed: u64,
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
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// Whether the model ended it; otherwise it was cut at the length asked for.
    pub ended: bool,
}

/// Goes on from every prompt, all of them at once.
///
/// # Errors
/// If the model cannot be read or does not fit in memory, a prompt is longer than the model's context,
/// or a template fails.
pub fn generate(
    request: &GenerationRequest,
    resources: Resources,
    cancel: &Cancel,
) -> Result<Vec<Generated>, Error> {
    let gemm = compute::gemm(request.precision, request.kernel, request.code_inputs)?;
    let variant = Variant::open(&request.model)?;
    compute::check_code_inputs(gemm, &[&variant])?;
    let folder = Folder::read(&variant)?;
    let prompts = prompts(request, &folder)?;
    check_lengths(&prompts, request, &variant)?;
    let engine = Engine::new(gemm);
    on_threads(resources.threads, || {
        let lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.tokens.len()).collect();
        let loaded = Loaded::read(&variant, &engine, &lengths, request.tokens, resources)?;
        let spoken = spoken(&loaded, &prompts, request, &folder, cancel)?;
        let generated = prompts.into_iter().zip(spoken);
        generated.map(|(prompt, spoken)| outcome(prompt, spoken, &folder)).collect()
    })?
}

/// A prompt as text and as tokens.
struct Prompt {
    text: String,
    tokens: Vec<u32>,
}

/// What was drawn for a prompt.
#[derive(Clone, Default)]
struct Spoken {
    tokens: Vec<u32>,
    ended: bool,
}

fn prompts(request: &GenerationRequest, folder: &Folder) -> Result<Vec<Prompt>, Error> {
    let prompt = |text: &String| {
        let text = if request.chat { folder.as_user(text, request.date)? } else { text.clone() };
        let tokens = folder.prompt_tokens(&text, request.chat)?;
        if tokens.is_empty() {
            return Err(Error::RefusedWithHint {
                what: "a prompt has no tokens".to_owned(),
                hint: "a text to go on from needs at least one".to_owned(),
            });
        }
        Ok(Prompt { text, tokens })
    };
    request.prompts.iter().map(prompt).collect()
}

fn check_lengths(
    prompts: &[Prompt],
    request: &GenerationRequest,
    variant: &Variant,
) -> Result<(), Error> {
    let Some(context) = variant.program().context else { return Ok(()) };
    let longest = prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(0);
    let wanted = longest + request.tokens;
    if wanted <= context {
        return Ok(());
    }
    Err(Error::RefusedWithHint {
        what: format!(
            "a prompt of {longest} tokens and {} more are beyond the model's context of {context}",
            request.tokens
        ),
        hint: "`--tokens` takes fewer".to_owned(),
    })
}

/// Prompts first, then a token of each sequence that goes on, until none does.
fn spoken(
    loaded: &Loaded<'_>,
    prompts: &[Prompt],
    request: &GenerationRequest,
    folder: &Folder,
    cancel: &Cancel,
) -> Result<Vec<Spoken>, Error> {
    let mut samplers: Vec<Sampler> = (0..prompts.len())
        .map(|number| Sampler::new(request.temperature, request.seed, number as u64))
        .collect();
    let mut spoken = vec![Spoken::default(); prompts.len()];
    let mut generator = Generator::new(loaded, prompts.len());
    let mut next: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
    for _ in 0..request.tokens {
        if cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        if next.iter().all(Vec::is_empty) {
            break;
        }
        let logits = generator.logits_after(&next)?;
        for ((tokens, spoken), (sampler, logits)) in
            next.iter_mut().zip(&mut spoken).zip(samplers.iter_mut().zip(logits))
        {
            tokens.clear();
            let Some(logits) = logits else { continue };
            let token = sampler.drawn(&logits);
            spoken.ended = folder.ends(token);
            if !spoken.ended {
                spoken.tokens.push(token);
                tokens.push(token);
            }
        }
    }
    Ok(spoken)
}

fn outcome(prompt: Prompt, spoken: Spoken, folder: &Folder) -> Result<Generated, Error> {
    let Prompt { text, tokens } = prompt;
    Ok(Generated {
        prompt: text,
        prompt_tokens: tokens,
        text: folder.decoded(&spoken.tokens)?,
        tokens: spoken.tokens,
        ended: spoken.ended,
    })
}
