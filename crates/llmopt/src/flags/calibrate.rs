//! The flags of `calibrate`, and those of all data that a model is observed on.

use super::{
    Bos, CALIBRATION, CalibrationDtype, ConsoleFlags, KERNELS, Listed, Quiet, RUN, examples,
    positive, tokens,
};
use crate::units;
use clap::Args;
use llmopt_pipeline::Date;
use std::path::PathBuf;

/// Keep what a model's matrices see as a file, for many runs of `quantize`
#[derive(Debug, Args)]
#[command(after_help = examples::CALIBRATE)]
pub(crate) struct Calibrate {
    /// Hugging Face folder [default: the current folder]
    pub(crate) model: Option<PathBuf>,

    /// Data on which the model is observed: `.txt`, `.jsonl` with `text` or `messages`, `.safetensors`
    /// of token ids, `builtin` for the text that comes with llmopt, or `self` for windows drawn from the
    /// model itself; several are mixed, by weight with `FILE:WEIGHT`
    #[arg(long = "data", alias = "calibrate", value_name = "SOURCE", required = true, help_heading = CALIBRATION)]
    pub(crate) calibrate: Vec<String>,
    #[command(flatten)]
    pub(crate) data: DataFlags,
    /// Keep Gram matrices (Hessians), too: what `gptq` and `gptq+cd` need. They take four bytes for each pair of
    /// input features of a site; without them, eight for each feature
    #[arg(long, help_heading = CALIBRATION)]
    pub(crate) gram: bool,
    /// Add what this statistics file of the same model holds; repeatable
    #[arg(long, value_name = "FILE", help_heading = CALIBRATION)]
    pub(crate) merge: Vec<PathBuf>,

    /// The `.safetensors` file that statistics go to
    #[arg(short, long, value_name = "FILE", help_heading = RUN)]
    pub(crate) output: PathBuf,
    /// Replace an existing file, once the new one is complete
    #[arg(long, help_heading = RUN)]
    pub(crate) force: bool,
    /// Print the plan and stop
    #[arg(long, help_heading = RUN)]
    pub(crate) dry_run: bool,
    /// Hard bound on resident memory, such as 8GiB or 500MB [default: 80 % of what is available, or
    /// 2GiB where that is unknown]
    #[arg(long, value_name = "SIZE", value_parser = units::size, help_heading = RUN)]
    pub(crate) memory: Option<u64>,
    /// Folder for hidden states that do not fit in memory [default: the one that the file goes to]
    #[arg(long, value_name = "DIR", help_heading = RUN)]
    pub(crate) scratch: Option<PathBuf>,
    /// What the inputs of products are rounded to; sums are always in f32 or wider
    #[arg(long, value_name = "D", default_value = "auto", help_heading = RUN)]
    pub(crate) dtype: CalibrationDtype,
    /// What computes the products
    #[arg(long, value_name = "K", value_parser = Listed(KERNELS), default_value = "auto", help_heading = RUN)]
    pub(crate) kernel: String,
    /// Worker threads; no result depends on them [default: as many as the machine runs at once]
    #[arg(long, value_name = "N", value_parser = positive, help_heading = RUN)]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) quiet: Quiet,
    #[command(flatten)]
    pub(crate) console: ConsoleFlags,
}

/// How data become windows.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct DataFlags {
    /// Windows of the data [default: 128]
    #[arg(long, value_name = "N", value_parser = tokens, help_heading = CALIBRATION)]
    pub(crate) samples: Option<usize>,
    /// Tokens of a window [default: 2048, or the model's context where that is shorter]
    #[arg(long, value_name = "N", value_parser = tokens, help_heading = CALIBRATION)]
    pub(crate) window: Option<usize>,
    /// Whether each window begins with the beginning-of-sequence (BOS) token [default: none]
    #[arg(long, value_name = "WHERE", help_heading = CALIBRATION)]
    pub(crate) bos: Option<Bos>,
    /// What decides the draws of `self` [default: 0]
    #[arg(long, value_name = "N", help_heading = CALIBRATION)]
    pub(crate) seed: Option<u64>,
    /// The day that a chat template may ask for, such as 2026-01-31
    #[arg(long, value_name = "DAY", help_heading = CALIBRATION)]
    pub(crate) date: Option<Date>,
}

/// All of [`DataFlags`].
pub(super) const DATA: [&str; 5] = ["samples", "window", "bos", "seed", "date"];
