//! The flags of `run` and of `recipe`.

use super::{ARTIFACT, ConsoleFlags, Listed, Quiet, RUN, examples, positive};
use crate::units;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Do what a recipe says: prune, smooth, quantize, evaluate, and hold the artifact to gates
#[derive(Debug, Args)]
#[command(after_help = examples::RUN)]
pub(crate) struct Run {
    /// Recipe, a TOML file [default: `llmopt.toml` in the current folder]
    pub(crate) recipe: Option<PathBuf>,
    /// Change a value of the recipe, such as stage.0.sparsity=0.3 or stage.quantize.bits=4; repeatable
    #[arg(long, value_name = "KEY=VALUE", help_heading = RECIPE)]
    pub(crate) set: Vec<String>,
    /// Evaluation that gates with `baseline` compare with
    #[arg(long, value_name = "FILE", help_heading = RECIPE)]
    pub(crate) baseline: Option<PathBuf>,
    /// What a gate counts as whose bound lies in the interval of what was measured [default: fail]
    #[arg(long, value_name = "VERDICT", value_parser = Listed(VERDICTS), help_heading = RECIPE)]
    pub(crate) on_unsure: Option<String>,
    /// What becomes of an artifact that misses a gate [default: keep]
    #[arg(long, value_name = "WHAT", value_parser = Listed(FATES), help_heading = RECIPE)]
    pub(crate) on_miss: Option<String>,

    /// Where the artifact goes [default: as the recipe says, or the model's name with what was done]
    #[arg(short, long, value_name = "PATH", help_heading = ARTIFACT)]
    pub(crate) output: Option<PathBuf>,
    /// Replace an existing output, once the new one is complete
    #[arg(long, help_heading = ARTIFACT)]
    pub(crate) force: bool,

    /// Print the plan and stop
    #[arg(long, help_heading = RUN)]
    pub(crate) dry_run: bool,
    /// Hard bound on resident memory, such as 8GiB or 500MB [default: as the recipe says, or 80 % of
    /// what is available]
    #[arg(long, value_name = "SIZE", value_parser = units::size, help_heading = RUN)]
    pub(crate) memory: Option<u64>,
    /// Worker threads; no byte depends on them [default: as the recipe says, or as many as the machine
    /// runs at once]
    #[arg(long, value_name = "N", value_parser = positive, help_heading = RUN)]
    pub(crate) threads: Option<usize>,
    /// Write a report of the evaluation beside those of the recipe; repeatable
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run", help_heading = RUN)]
    pub(crate) report: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) quiet: Quiet,
    #[command(flatten)]
    pub(crate) console: ConsoleFlags,
}

/// Begin a recipe, or describe recipes to an editor
#[derive(Debug, Args)]
#[command(after_help = examples::RECIPE)]
pub(crate) struct Recipe {
    #[command(subcommand)]
    pub(crate) command: RecipeCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RecipeCommand {
    Init(Init),
    Schema(Schema),
}

/// Write a commented recipe for a model
#[derive(Debug, Args)]
#[command(after_help = examples::RECIPE_INIT)]
pub(crate) struct Init {
    /// Hugging Face folder [default: the current folder]
    pub(crate) model: Option<PathBuf>,
    /// Where the artifact is to run
    #[arg(long = "for", value_name = "PURPOSE", default_value = "desktop")]
    pub(crate) purpose: Purpose,
    /// The file that the recipe goes to
    #[arg(short, long, value_name = "FILE", default_value = USUAL_RECIPE)]
    pub(crate) output: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) console: ConsoleFlags,
}

/// Print the JSON schema of recipes
#[derive(Debug, Args)]
#[command(after_help = examples::RECIPE_SCHEMA)]
pub(crate) struct Schema {}

/// Where an artifact is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// Many requests at once: int8 weights and activations
    Server,
    /// One user at a time: 4-bit weights
    Desktop,
    /// Little memory: a fifth of the blocks pruned, 4-bit weights
    Edge,
}

/// The recipe of a folder.
pub(crate) const USUAL_RECIPE: &str = "llmopt.toml";
const VERDICTS: &[&str] = &["fail", "pass"];
const FATES: &[&str] = &["keep", "discard"];
const RECIPE: &str = "What the recipe says";
