//! The flags of `bench`.

use super::examples;
use super::values::{
    CodeInputs, ConsoleFlags, EvalDtype, KERNELS, Listed, MEASURED, Quiet, RUN, positive, tokens,
};
use crate::units;
use clap::Args;
use std::path::PathBuf;

/// Measure how fast a model decodes on this machine's processor, beside what its memory can do
#[derive(Debug, Args)]
#[command(after_help = examples::BENCH)]
pub(crate) struct Bench {
    /// Artifact or any other model: a Hugging Face folder
    pub(crate) model: PathBuf,
    /// The original: both are in memory together, and run in turn
    #[arg(long, value_name = "MODEL", help_heading = MEASURED)]
    pub(crate) against: Option<PathBuf>,
    /// Sequences that go through a model together
    #[arg(long, value_name = "LIST", value_parser = positive, value_delimiter = ',', default_value = "1,2,4,8,16", help_heading = MEASURED)]
    pub(crate) batch: Vec<usize>,
    /// Tokens of a prompt: random ones, for speed alone
    #[arg(long, value_name = "N", value_parser = tokens, default_value = "128", help_heading = MEASURED)]
    pub(crate) prompt: usize,
    /// Tokens that each sequence decodes after its first, the likeliest each time, whether one ends a text or not
    #[arg(long, value_name = "N", value_parser = tokens, default_value = "64", help_heading = MEASURED)]
    pub(crate) tokens: usize,
    /// Runs of which the median is told
    #[arg(long, value_name = "N", value_parser = positive, default_value = "5", help_heading = MEASURED)]
    pub(crate) runs: usize,
    /// What decides the tokens of prompts
    #[arg(long, value_name = "N", default_value = "0", help_heading = MEASURED)]
    pub(crate) seed: u64,

    /// What the inputs of products are rounded to; sums are always in f32
    #[arg(long, value_name = "D", default_value = "f32", help_heading = RUN)]
    pub(crate) dtype: EvalDtype,
    /// What inputs become where a weight is integer codes
    #[arg(long, value_name = "A", default_value = "artifact", help_heading = RUN)]
    pub(crate) activations: CodeInputs,
    /// What computes the products
    #[arg(long, value_name = "K", value_parser = Listed(KERNELS), default_value = "auto", help_heading = RUN)]
    pub(crate) kernel: String,
    /// Worker threads [default: as many as the machine runs at once]
    #[arg(long, value_name = "N", value_parser = positive, help_heading = RUN)]
    pub(crate) threads: Option<usize>,
    /// Hard bound on resident memory, such as 8GiB or 500MB; all models with keys and values of the largest batch
    /// must fit [default: 80 % of what is available, or 2GiB where that is unknown]
    #[arg(long, value_name = "SIZE", value_parser = units::size, help_heading = RUN)]
    pub(crate) memory: Option<u64>,
    /// Write a report: `.json`, `.md` or `.html`; repeatable
    #[arg(long, value_name = "FILE", help_heading = RUN)]
    pub(crate) report: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) quiet: Quiet,
    #[command(flatten)]
    pub(crate) console: ConsoleFlags,
}
