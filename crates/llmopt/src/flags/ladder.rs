//! The flags of `ladder`.

use super::{
    ARTIFACT, BITS, CALIBRATION, CalibrationDtype, ConsoleFlags, Group, KERNELS, Listed, MEASURED,
    Quiet, RUN, RUNTIMES, SCHEME, examples, positive, tokens,
};
use crate::units;
use clap::{ArgGroup, Args};
use std::path::PathBuf;

/// Hold several sizes of a model against each other, from one set of statistics
#[derive(Debug, Args)]
#[command(after_help = examples::LADDER)]
#[command(group(ArgGroup::new("observed").args(["seed", "dtype"]).multiple(true).requires("calibrate")))]
pub(crate) struct Ladder {
    /// Hugging Face folder [default: the current folder]
    pub(crate) model: Option<PathBuf>,

    /// Bits of a weight, one rung for each
    #[arg(long, value_name = "LIST", value_parser = Listed(BITS), value_delimiter = ',', default_value = "8,6,5,4,3", help_heading = SCHEME)]
    pub(crate) bits: Vec<String>,
    /// Columns of a row that share a scale on every rung, or `channel` [default: per channel at 8 bits; below, the
    /// largest of 128, 64 and 32 that divides every row of a fused group]
    #[arg(long, value_name = "N|channel", allow_negative_numbers = true, help_heading = SCHEME)]
    pub(crate) group_size: Option<Group>,

    /// Data on which the model is observed, once for all rungs: `.txt`, `.jsonl` with `text` or `messages`,
    /// `.safetensors` of token ids, `builtin`, or `self`; several are mixed, by weight with `FILE:WEIGHT`. Or
    /// statistics files that `llmopt calibrate` wrote [default: none, weights alone decide]
    #[arg(long, value_name = "SOURCE", help_heading = CALIBRATION)]
    pub(crate) calibrate: Vec<String>,
    /// Windows of the data, and of the text at most [default: 128]
    #[arg(long, value_name = "N", value_parser = tokens, help_heading = CALIBRATION)]
    pub(crate) samples: Option<usize>,
    /// Tokens of a window, of the data and of the text [default: 2048, or the model's context where that is
    /// shorter]
    #[arg(long, value_name = "N", value_parser = tokens, help_heading = CALIBRATION)]
    pub(crate) window: Option<usize>,
    /// What decides the draws of `self` [default: 0]
    #[arg(long, value_name = "N", help_heading = CALIBRATION)]
    pub(crate) seed: Option<u64>,
    /// What the inputs of products are rounded to while the model is observed; sums are always in
    /// f32 or wider [default: auto]
    #[arg(long, value_name = "D", help_heading = CALIBRATION)]
    pub(crate) dtype: Option<CalibrationDtype>,

    /// Text that rungs are judged on, and nothing is fitted to: `.txt`, `.jsonl` with `text` or `messages`, or
    /// `.safetensors` of token ids [default: windows held out of the data, or of the built-in text]
    #[arg(long, value_name = "FILE", help_heading = MEASURED)]
    pub(crate) text: Option<PathBuf>,

    /// Rungs whose artifacts stay, by their bits; others are removed when they are judged
    #[arg(long, value_name = "LIST", value_parser = Listed(BITS), value_delimiter = ',', help_heading = ARTIFACT)]
    pub(crate) keep: Vec<String>,
    /// Folder in which these will be [default: the one that the model lies in]
    #[arg(short, long, value_name = "DIR", requires = "keep", help_heading = ARTIFACT)]
    pub(crate) output: Option<PathBuf>,
    /// Replace existing artifacts, once the new ones are judged
    #[arg(long, requires = "keep", help_heading = ARTIFACT)]
    pub(crate) force: bool,
    /// Whose rules the artifacts must follow
    #[arg(long, value_name = "LIST", value_parser = Listed(RUNTIMES), value_delimiter = ',', default_value = "transformers,vllm", help_heading = ARTIFACT)]
    pub(crate) runtime: Vec<String>,

    /// Print the plan and stop
    #[arg(long, help_heading = RUN)]
    pub(crate) dry_run: bool,
    /// Hard bound on resident memory, such as 8GiB or 500MB [default: 80 % of what is available, or
    /// 2GiB where that is unknown]
    #[arg(long, value_name = "SIZE", value_parser = units::size, help_heading = RUN)]
    pub(crate) memory: Option<u64>,
    /// Folder for hidden states that do not fit in memory [default: the one that the artifacts go to]
    #[arg(long, value_name = "DIR", help_heading = RUN)]
    pub(crate) scratch: Option<PathBuf>,
    /// What computes the products
    #[arg(long, value_name = "K", value_parser = Listed(KERNELS), default_value = "auto", help_heading = RUN)]
    pub(crate) kernel: String,
    /// Worker threads; no result depends on them [default: as many as the machine runs at once]
    #[arg(long, value_name = "N", value_parser = positive, help_heading = RUN)]
    pub(crate) threads: Option<usize>,
    /// Write a report: `.json`, `.md` or `.html`; repeatable
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run", help_heading = RUN)]
    pub(crate) report: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) quiet: Quiet,
    #[command(flatten)]
    pub(crate) console: ConsoleFlags,
}
