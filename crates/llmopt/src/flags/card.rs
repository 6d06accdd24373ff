//! The flags of `card`.

use super::{ConsoleFlags, Quiet, examples};
use clap::Args;
use std::path::PathBuf;

/// Print or write the model card of an artifact, as the Hugging Face hub reads it
#[derive(Debug, Args)]
#[command(after_help = examples::CARD)]
pub(crate) struct Card {
    /// Folder that `llmopt` wrote [default: the current folder]
    pub(crate) artifact: Option<PathBuf>,
    /// What `llmopt eval --json` printed [default: `evaluation.json` in the artifact, if it is there]
    #[arg(long, value_name = "FILE", help_heading = TOLD)]
    pub(crate) evaluation: Option<PathBuf>,
    /// The original's name on the hub, `owner/name` [default: the name that the evaluation has for it]
    #[arg(long, value_name = "NAME", help_heading = TOLD)]
    pub(crate) base_model: Option<String>,
    /// Where the card goes; `-` is standard output [default: -]
    #[arg(short, long, value_name = "FILE", help_heading = TOLD)]
    pub(crate) output: Option<PathBuf>,
    /// Write it as `README.md` into the artifact, and list it in `llmopt.json`: of a card that is there all stays
    /// but the section between `<!-- llmopt -->` and `<!-- /llmopt -->`, and missing keys and tags are added
    #[arg(long, conflicts_with = "output", help_heading = TOLD)]
    pub(crate) write: bool,
    #[command(flatten)]
    pub(crate) quiet: Quiet,
    #[command(flatten)]
    pub(crate) console: ConsoleFlags,
}

const TOLD: &str = "What is told, and where";
