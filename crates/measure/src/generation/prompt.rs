//! What one sequence is given, and what it may become.

use crate::generation::sampler::Sampling;
use crate::generation::stop::Stops;
use llmopt_model::Variant;
use llmopt_run::Error;

/// Tokens to go on from, and how.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    pub(super) tokens: Vec<u32>,
    /// Tokens to say at most.
    pub(super) most: usize,
    pub(super) sampling: Sampling,
    pub(super) stops: Stops,
    /// Beside each token said, how likely it was, and so many of the likeliest.
    pub(super) logprobs: Option<usize>,
}

impl Prompt {
    /// Refuses a prompt without tokens, and one that the model's context has no room for.
    pub(super) fn check(&self, variant: &Variant) -> Result<(), Error> {
        let (length, most) = (self.tokens.len(), self.most);
        if length == 0 {
            return Err(Error::RefusedWithHint {
                what: "a prompt has no tokens".to_owned(),
                hint: "a text to go on from needs at least one".to_owned(),
            });
        }
        match variant.program().context {
            Some(context) if length + most > context => Err(Error::RefusedWithHint {
                what: format!(
                    "a prompt of {length} tokens and {most} more are beyond the model's context of {context}"
                ),
                hint: "`--tokens` takes fewer".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Tokens that it may become.
    pub(super) fn longest(&self) -> usize {
        self.tokens.len() + self.most
    }
}
