//! The flags of `generate`.

use super::{Compute, ConsoleFlags, Quiet, RUN, SPOKEN, examples, temperature, tokens};
use crate::units;
use clap::Args;
use llmopt_pipeline::Date;
use std::path::PathBuf;

/// Let a model go on from prompts, to see with your own eyes that it still speaks
#[derive(Debug, Args)]
#[command(after_help = examples::GENERATE)]
pub(crate) struct Generate {
    /// Artifact or any other model: a Hugging Face folder
    pub(crate) model: PathBuf,
    /// Text to go on from; several go through the model together
    #[arg(required = true, value_name = "PROMPT")]
    pub(crate) prompts: Vec<String>,
    /// Take each prompt as the message of a user, in the folder's chat template
    #[arg(long, help_heading = SPOKEN)]
    pub(crate) chat: bool,
    /// Tokens to generate at most
    #[arg(long, value_name = "N", value_parser = tokens, default_value = "64", help_heading = SPOKEN)]
    pub(crate) tokens: usize,
    /// 0 takes the likeliest token each time; above, tokens are drawn
    #[arg(long, value_name = "T", value_parser = temperature, default_value = "0", help_heading = SPOKEN)]
    pub(crate) temperature: f64,
    /// What decides the draws [default: 0]
    #[arg(long, value_name = "N", help_heading = SPOKEN)]
    pub(crate) seed: Option<u64>,
    /// The day that a chat template may ask for, such as 2026-01-31
    #[arg(long, value_name = "DAY", requires = "chat", help_heading = SPOKEN)]
    pub(crate) date: Option<Date>,

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
