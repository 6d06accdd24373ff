//! The flags of `generate`.

use super::{
    Compute, ConsoleFlags, Quiet, REQUESTS, RUN, SPOKEN, examples, positive, proposals, share,
    temperature, tokens,
};
use crate::units;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use llmopt_pipeline::Date;
use std::path::PathBuf;

/// Let a model go on from prompts, to see with your own eyes that it still speaks, or answer a file of requests
#[derive(Debug, Args)]
#[command(after_help = examples::GENERATE)]
pub(crate) struct Generate {
    /// Artifact or any other model: a Hugging Face folder
    pub(crate) model: PathBuf,
    /// Text to go on from; several go through the model together
    #[arg(required_unless_present = "requests", value_name = "PROMPT")]
    pub(crate) prompts: Vec<String>,
    /// Take each prompt as the message of a user, in the folder's chat template
    #[arg(long, help_heading = SPOKEN)]
    pub(crate) chat: bool,
    /// Tokens to generate at most [default: 64]
    #[arg(long, value_name = "N", value_parser = tokens, help_heading = SPOKEN)]
    pub(crate) tokens: Option<usize>,
    /// 0 takes the likeliest token each time; above, tokens are drawn [default: 0]
    #[arg(long, value_name = "T", value_parser = temperature, help_heading = SPOKEN)]
    pub(crate) temperature: Option<f64>,
    /// Draw among the K likeliest tokens, equals included [default: all]
    #[arg(long, value_name = "K", value_parser = tokens, help_heading = SPOKEN)]
    pub(crate) top_k: Option<usize>,
    /// Draw among the fewest of the likeliest tokens that --top-k leaves whose probabilities add up to P
    /// [default: 1]
    #[arg(long, value_name = "P", value_parser = share, help_heading = SPOKEN)]
    pub(crate) top_p: Option<f64>,
    /// Draw among the tokens that --top-p leaves which are at least P times as probable as the likeliest
    /// [default: 0]
    #[arg(long, value_name = "P", value_parser = share, help_heading = SPOKEN)]
    pub(crate) min_p: Option<f64>,
    /// What decides the draws: a text depends on model, prompt, seed and these options alone [default: 0]
    #[arg(long, value_name = "N", help_heading = SPOKEN)]
    pub(crate) seed: Option<u64>,
    /// End a text before this string; repeatable
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new(), help_heading = SPOKEN)]
    pub(crate) stop: Vec<String>,
    /// The day that a chat template may ask for, such as 2026-01-31
    #[arg(long, value_name = "DAY", help_heading = SPOKEN)]
    pub(crate) date: Option<Date>,

    /// Answer the requests of this file, or `-` for standard input: a line each, as in OpenAI's batch files. Prompt,
    /// length and sampling are those of each request
    #[arg(long, value_name = "FILE", requires = "output", conflicts_with_all = OF_PROMPTS, help_heading = REQUESTS)]
    pub(crate) requests: Option<PathBuf>,
    /// Where the answers go, in the order of the requests: a file, or `-` for standard output. A run that was
    /// interrupted goes on where it stopped if a file is given for both
    #[arg(short, long, value_name = "FILE", requires = "requests", help_heading = REQUESTS)]
    pub(crate) output: Option<PathBuf>,
    /// Replace an existing file of answers once the new one is complete
    #[arg(long, requires = "output", help_heading = REQUESTS)]
    pub(crate) force: bool,

    /// Let an artifact of the model, or any model with its tokens, propose tokens that are checked in one step; `ngram`
    /// proposes what followed the same tokens before. No text depends on it, and none are proposed where that is slower
    #[arg(long, value_name = "DRAFT", help_heading = RUN)]
    pub(crate) draft: Option<PathBuf>,
    /// Propose so many tokens at a time, 16 at most [default: as many as pay, by what is measured]
    #[arg(long, value_name = "N", value_parser = proposals, requires = "draft", help_heading = RUN)]
    pub(crate) draft_length: Option<usize>,
    /// Sequences that go through the model together, at most; no text depends on it
    #[arg(long, value_name = "N", value_parser = positive, default_value = "8", help_heading = RUN)]
    pub(crate) slots: usize,
    /// Rows of a step: a token of each sequence that speaks, and pieces of prompts in the rest, one token at
    /// least; no text depends on it
    #[arg(long, value_name = "N", value_parser = positive, default_value = "256", help_heading = RUN)]
    pub(crate) chunk: usize,
    /// Hard bound on resident memory, such as 8GiB or 500MB; the whole model must fit [default: 80 %
    /// of what is available, or 2GiB where that is unknown]
    #[arg(long, value_name = "SIZE", value_parser = units::size, help_heading = RUN)]
    pub(crate) memory: Option<u64>,
    #[command(flatten)]
    pub(crate) compute: Compute,
    #[command(flatten)]
    pub(crate) quiet: Quiet,
    #[command(flatten)]
    pub(crate) console: ConsoleFlags,
}

/// What each request says itself.
const OF_PROMPTS: [&str; 9] =
    ["prompts", "chat", "tokens", "temperature", "top_k", "top_p", "min_p", "seed", "stop"];

/// Tokens where nobody says how many.
pub(crate) const USUAL_TOKENS: usize = 64;
