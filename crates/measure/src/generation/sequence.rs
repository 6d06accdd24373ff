//! A text that grows token by token.

use crate::generation::logprobs::TokenLogprobs;
use crate::generation::prompt::Prompt;
use llmopt_data::Folder;
use llmopt_run::Error;
use std::ops::Range;

/// A prompt, and what was said so far.
pub(super) struct Sequence {
    prompt: Prompt,
    said: Vec<u32>,
    logprobs: Option<Vec<TokenLogprobs>>,
    ended: bool,
}

/// What was said in the end.
#[derive(Clone, Debug)]
pub(super) struct Spoken {
    pub(super) prompt_tokens: Vec<u32>,
    /// Without the one that ends a text.
    pub(super) tokens: Vec<u32>,
    /// That of the tokens, up to a stop string.
    pub(super) text: String,
    /// Of each token, if they were asked for.
    pub(super) logprobs: Option<Vec<TokenLogprobs>>,
    /// Whether the model ended it, or said a stop string; otherwise it is as long as was asked for.
    pub(super) ended: bool,
}

impl Sequence {
    pub(super) fn new(prompt: Prompt) -> Self {
        let logprobs = prompt.logprobs.map(|_| Vec::new());
        Self { prompt, said: Vec::new(), logprobs, ended: false }
    }

    /// Some of its tokens.
    pub(super) fn tokens(&self, range: Range<usize>) -> impl Iterator<Item = u32> {
        let all = self.prompt.tokens.iter().chain(&self.said);
        all.copied().skip(range.start).take(range.len())
    }

    /// All of its tokens.
    pub(super) fn all(&self) -> Vec<u32> {
        self.tokens(0..self.length()).collect()
    }

    /// How many tokens it has.
    pub(super) fn length(&self) -> usize {
        self.prompt.tokens.len() + self.said.len()
    }

    /// How many tokens it may still say.
    pub(super) fn left(&self) -> usize {
        self.prompt.most.saturating_sub(self.said.len())
    }

    /// The token that it would say at a position.
    pub(super) fn drawn(&self, logits: &[f32], position: usize) -> u32 {
        self.prompt.sampling.drawn(logits, position)
    }

    /// The token said last.
    pub(super) fn last(&self) -> Option<u32> {
        self.said.last().copied()
    }

    /// Says the next token. Whether there may be another one.
    pub(super) fn say(&mut self, logits: &[f32], folder: &Folder) -> Result<bool, Error> {
        let token = self.drawn(logits, self.length());
        if folder.ends(token) {
            self.ended = true;
            return Ok(false);
        }
        if let (Some(told), Some(count)) = (&mut self.logprobs, self.prompt.logprobs) {
            let before = self.said.last().copied();
            told.push(TokenLogprobs::of(logits, before, token, count, folder)?);
        }
        self.said.push(token);
        let is_full = self.said.len() == self.prompt.most;
        Ok(!is_full && !self.prompt.stops.are_in(&self.said, folder)?)
    }

    /// What was said.
    pub(super) fn spoken(self, folder: &Folder) -> Result<Spoken, Error> {
        let (text, is_cut) = self.prompt.stops.cut(folder.decoded(&self.said)?);
        Ok(Spoken {
            prompt_tokens: self.prompt.tokens,
            tokens: self.said,
            text,
            logprobs: self.logprobs,
            ended: self.ended || is_cut,
        })
    }
}
