//! From what is asked to a prompt.

use super::body::{Asked, AskedPrompt};
use crate::generation::prompt::Prompt;
use crate::generation::stop::Stops;
use llmopt_data::{Folder, failed};
use llmopt_model::Variant;
use llmopt_run::Error;
use llmopt_text::{Date, RenderOptions};
use serde_json::Value;

/// The prompt of a request, or why there is none.
pub(super) fn prompt(
    asked: Result<Asked, String>,
    (variant, folder): (&Variant, &Folder),
    date: Option<Date>,
) -> Result<Prompt, String> {
    let Asked { prompt, most, sampling, stop, logprobs } = asked?;
    let tokens = tokens(prompt, folder, date).map_err(|error| error.to_string())?;
    let most = match most {
        Some(most) => most,
        None => rest_of_context(variant, tokens.len())?,
    };
    let prompt = Prompt { tokens, most, sampling, stops: Stops::new(stop), logprobs };
    prompt.check(variant).map_err(|error| error.to_string())?;
    Ok(prompt)
}

fn tokens(prompt: AskedPrompt, folder: &Folder, date: Option<Date>) -> Result<Vec<u32>, Error> {
    match prompt {
        AskedPrompt::Text(text) => folder.prompt_tokens(&text, false),
        AskedPrompt::Tokens(tokens) => folder.check(&tokens).map(|()| tokens),
        AskedPrompt::Messages(messages) => {
            folder.prompt_tokens(&rendered(&messages, folder, date)?, true)
        }
    }
}

fn rendered(messages: &[Value], folder: &Folder, date: Option<Date>) -> Result<String, Error> {
    let template = folder.template();
    let template =
        template.ok_or_else(|| Error::Refused("the model has no chat template".to_owned()))?;
    let options = RenderOptions { add_generation_prompt: true, date };
    template.render(messages, &options).map_err(|error| failed(error.into()))
}

/// What a conversation may take that does not say how much, as vLLM has it.
fn rest_of_context(variant: &Variant, length: usize) -> Result<usize, String> {
    let context = variant.program().context.ok_or_else(|| {
        "`max_completion_tokens` is missing, and the model tells no context".to_owned()
    })?;
    Ok(context.saturating_sub(length).max(1))
}

/// What a prompt takes.
pub(super) fn held_bytes(prompt: &Prompt) -> usize {
    size_of::<Prompt>() + prompt.tokens.len() * size_of::<u32>()
}

/// What an answer takes at most, from its first token until it is written.
pub(super) fn answer_bytes(prompt: &Prompt) -> u64 {
    let told = prompt.logprobs.map_or(0, |likeliest| likeliest + 1);
    (prompt.most * (TOKEN_BYTES + told * LOGPROB_BYTES)) as u64
}

/// An id, and its text twice: as it is and as JSON.
const TOKEN_BYTES: usize = 64;
/// A text and a number, as they are and as JSON with its keys.
const LOGPROB_BYTES: usize = 256;
