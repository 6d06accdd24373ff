//! The flags of `prune`.

use super::{
    ARTIFACT, CALIBRATION, CalibrationDtype, ConsoleFlags, DataFlags, KERNELS, Listed, Quiet, RUN,
    RUNTIMES, examples, positive,
};
use crate::units;
use clap::Args;
use std::path::PathBuf;

/// Remove structure and refit what reads it: an ordinary, smaller dense checkpoint
#[derive(Debug, Args)]
#[command(after_help = examples::PRUNE)]
pub(crate) struct Prune {
    /// Hugging Face folder [default: the current folder; what is made of it goes beside it]
    pub(crate) model: Option<PathBuf>,

    /// Share of the parameters of the transformer blocks to remove: more than 0, at most 0.9, or in per
    /// cent as 40%
    #[arg(long, value_name = "X", value_parser = units::fraction, help_heading = PRUNED)]
    pub(crate) sparsity: f64,
    /// What is removed: intermediate channels (ffn), key-value groups with their query heads (heads), whole
    /// layers (layers), or several of these [default: what diverges least of ffn, ffn with heads, and ffn
    /// with layers, on windows taken beside those of --samples]
    #[arg(long, value_name = "LIST", value_parser = Listed(AXES), value_delimiter = ',', help_heading = PRUNED)]
    pub(crate) axes: Vec<String>,
    /// How units are chosen: by optimal brain surgeon on the Hessian (obs), by fluctuation (flap), or
    /// by the norm of their weights (magnitude) [default: obs]
    #[arg(long, value_name = "M", value_parser = Listed(PRUNE_METHODS), help_heading = PRUNED)]
    pub(crate) method: Option<String>,
    /// Leave the matrices that read what was removed as they are, but for what is cut off
    #[arg(long, help_heading = PRUNED)]
    pub(crate) no_refit: bool,
    /// Passes over the tokens in which the gate and up projections that make what stays are moved, too; at
    /// most one for every eight tokens of each of their inputs, but one at least; 0 leaves them as they
    /// are [default: 5]
    #[arg(long, value_name = "N", conflicts_with = "no_refit", help_heading = PRUNED)]
    pub(crate) refine: Option<usize>,
    /// Give the matrices that read what was removed a bias, in families that have a place for it
    #[arg(long, help_heading = PRUNED)]
    pub(crate) bias: bool,
    /// What widths are multiples of [default: 32, halved down to 8 until one step is at most 1 % of a
    /// block]
    #[arg(long, value_name = "N", value_parser = positive, help_heading = PRUNED)]
    pub(crate) align: Option<usize>,

    /// Data on which the model is observed: `.txt`, `.jsonl` with `text` or `messages`, `.safetensors`
    /// of token ids, `builtin` for the text that comes with llmopt, or `self` for windows drawn from the
    /// model itself; several are mixed, by weight with `FILE:WEIGHT`
    /// [default: builtin; self, where no tokenizer lies beside the model]
    #[arg(long, value_name = "SOURCE", help_heading = CALIBRATION)]
    pub(crate) calibrate: Vec<String>,
    #[command(flatten)]
    pub(crate) data: DataFlags,
    /// What the inputs of products are rounded to while the model is observed; sums are always in
    /// f32 or wider [default: auto]
    #[arg(long, value_name = "D", help_heading = CALIBRATION)]
    pub(crate) dtype: Option<CalibrationDtype>,
    /// What computes the products [default: auto]
    #[arg(long, value_name = "K", value_parser = Listed(KERNELS), help_heading = CALIBRATION)]
    pub(crate) kernel: Option<String>,
    /// Folder for hidden states that do not fit in memory [default: the one that the artifact goes to]
    #[arg(long, value_name = "DIR", help_heading = CALIBRATION)]
    pub(crate) scratch: Option<PathBuf>,

    /// Whose rules the artifact must follow
    #[arg(long, value_name = "LIST", value_parser = Listed(RUNTIMES), value_delimiter = ',', default_value = "transformers,vllm", help_heading = ARTIFACT)]
    pub(crate) runtime: Vec<String>,
    /// Fail where an expert saw too few tokens to be refitted
    #[arg(long, help_heading = ARTIFACT)]
    pub(crate) strict: bool,
    /// The folder that the artifact goes to [default: the input's name with the sparsity appended]
    #[arg(short, long, value_name = "PATH", help_heading = ARTIFACT)]
    pub(crate) output: Option<PathBuf>,
    /// Replace an existing output, once the new one is complete
    #[arg(long, help_heading = ARTIFACT)]
    pub(crate) force: bool,

    /// Print the plan and stop
    #[arg(long, help_heading = RUN)]
    pub(crate) dry_run: bool,
    /// Hard bound on resident memory, such as 8GiB or 500MB [default: 80 % of what is available, or
    /// 2GiB where that is unknown]
    #[arg(long, value_name = "SIZE", value_parser = units::size, help_heading = RUN)]
    pub(crate) memory: Option<u64>,
    /// Worker threads; the artifact's bytes do not depend on them [default: as many as the machine
    /// runs at once]
    #[arg(long, value_name = "N", value_parser = positive, help_heading = RUN)]
    pub(crate) threads: Option<usize>,
    /// Write the report to this `.json` file, too
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run", help_heading = RUN)]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) quiet: Quiet,
    #[command(flatten)]
    pub(crate) console: ConsoleFlags,
}

pub(crate) const AXES: &[&str] = &["ffn", "heads", "layers"];
pub(crate) const PRUNE_METHODS: &[&str] = llmopt_pipeline::PruneMethod::NAMES;

const PRUNED: &str = "What is removed, and how";
