//! The command line as `clap` reads it. Help, completions and `docs/cli.md` come from here.
//!
//! What the values mean together is [`crate::request`]'s concern.

mod bench;
mod calibrate;
mod card;
pub(crate) mod examples;
mod generate;
mod ladder;
mod prune;
mod run;
mod values;

pub(crate) use bench::Bench;
use calibrate::DATA;
pub(crate) use calibrate::{Calibrate, DataFlags};
pub(crate) use card::Card;
pub(crate) use generate::{Generate, USUAL_TOKENS};
pub(crate) use ladder::Ladder;
pub(crate) use prune::{AXES, PRUNE_METHODS, Prune};
pub(crate) use run::{Init, Purpose, Recipe, RecipeCommand, Run, USUAL_RECIPE};
pub(crate) use values::{CodeInputs, ConsoleFlags, EvalDtype, KERNELS, Quiet};
use values::{Listed, MEASURED, RUN, positive, proposals, tokens};

use crate::exit;
use crate::print::Console;
use crate::units;
use clap::builder::ValueParserFactory;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use llmopt_pipeline::{
    Date, Gate, GateError, KernelChoice, NamedFile, NamedFileError, OnUnsure, Precision, Smooth,
};
use std::path::PathBuf;

/// Shrinks language-model checkpoints offline: no Python, no GPU, in a memory budget that it keeps
#[derive(Debug, Parser)]
#[command(name = "llmopt", version, after_help = exit::HELP)]
#[command(arg_required_else_help = true)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Inspect(Inspect),
    Quantize(Box<Quantize>),
    Prune(Box<Prune>),
    Run(Box<Run>),
    Recipe(Recipe),
    Calibrate(Box<Calibrate>),
    Ladder(Box<Ladder>),
    Eval(Box<Eval>),
    Generate(Box<Generate>),
    Bench(Box<Bench>),
    Verify(Verify),
    Card(Card),
    Diff(Diff),
    Completions(Completions),
}

/// Say what is in a checkpoint or an artifact, and what each scheme would weigh
#[derive(Debug, Args)]
#[command(after_help = examples::INSPECT)]
pub(crate) struct Inspect {
    /// Hugging Face folder, or a single `.safetensors` file [default: the current folder, or the one
    /// `.safetensors` file in it]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) console: ConsoleFlags,
}

/// Write a smaller artifact that the runtimes asked for load unmodified
#[derive(Debug, Args)]
#[command(after_help = examples::QUANTIZE)]
#[command(group(ArgGroup::new("data").args(DATA).multiple(true).requires("calibrate")))]
#[command(group(ArgGroup::new("goal").args(["target_size", "target_bpw", "max_kld"]).conflicts_with_all(["bits", "scheme"])))]
pub(crate) struct Quantize {
    /// Hugging Face folder, or a single `.safetensors` file [default: the current folder, or the one
    /// `.safetensors` file in it; what is made of it goes beside that folder]
    pub(crate) model: Option<PathBuf>,

    /// Bits of a weight: short for `--scheme wNa16` [default: 8]
    #[arg(long, value_name = "N", value_parser = Listed(BITS), help_heading = SCHEME)]
    pub(crate) bits: Option<String>,
    /// Number formats of weights and activations [default: from --bits]
    #[arg(long, value_name = "S", value_parser = Listed(SCHEMES), help_heading = SCHEME)]
    pub(crate) scheme: Option<String>,
    /// Columns of a row that share a scale, or `channel`, also written -1 [default: per channel at 8 bits; below, the
    /// largest of 128, 64 and 32 that divides every row of a fused group]
    #[arg(long, value_name = "N|channel", allow_negative_numbers = true, help_heading = SCHEME)]
    pub(crate) group_size: Option<Group>,
    /// Give every scale a zero point
    #[arg(long, help_heading = SCHEME)]
    pub(crate) asymmetric: bool,
    /// Mixed precision: give every fused group of matrices the width that it needs, so that all files together
    /// have at most so many bytes, such as 5GB
    #[arg(long, value_name = "SIZE", value_parser = units::size, help_heading = SCHEME)]
    pub(crate) target_size: Option<u64>,
    /// The same, so that the weight files have at most so many bits for each parameter of the model
    #[arg(long, value_name = "BITS", help_heading = SCHEME)]
    pub(crate) target_bpw: Option<f64>,
    /// The same, as small as can be, so that the mean KL divergence from the original on windows held out is at
    /// most this, with the upper end of its 95 % interval
    #[arg(long, value_name = "NATS", help_heading = SCHEME)]
    pub(crate) max_kld: Option<f64>,
    /// Bits of a weight that mixed precision chooses from [default: those of 2,3,4,5,6,8 that the runtimes take]
    #[arg(long, value_name = "LIST", value_parser = Listed(BITS), value_delimiter = ',', requires = "goal", help_heading = SCHEME)]
    pub(crate) widths: Vec<String>,
    /// How scales and codes are chosen: without calibration from the absolute maximum (rtn) or by the
    /// error they leave (search), with it also by the error of the outputs; `auto` takes the method
    /// that does best on windows held out; with statistics files, gptq+cd if they have Gram matrices (Hessians),
    /// else search [default: search, with --calibrate auto]
    #[arg(long, value_name = "M", value_parser = Listed(METHODS), help_heading = SCHEME)]
    pub(crate) method: Option<String>,
    /// Quantize only what matches: a name of a tensor or of its module, with wildcards, or `re:` and a
    /// regular expression; repeatable
    #[arg(long, value_name = "PATTERN", help_heading = SCHEME)]
    pub(crate) include: Vec<String>,
    /// Keep what matches as it is; patterns as for --include; repeatable
    #[arg(long, alias = "ignore", value_name = "PATTERN", help_heading = SCHEME)]
    pub(crate) exclude: Vec<String>,
    /// Quantize the embedding, too
    #[arg(long, help_heading = SCHEME)]
    pub(crate) embeddings: bool,
    /// Quantize the output head, too
    #[arg(long, help_heading = SCHEME)]
    pub(crate) lm_head: bool,
    /// Keep a tensor with NaN or infinity as it is, instead of failing
    #[arg(long, help_heading = SCHEME)]
    pub(crate) allow_nonfinite: bool,

    /// Data on which the model is observed: `.txt`, `.jsonl` with `text` or `messages`, `.safetensors`
    /// of token ids, `builtin` for the text that comes with llmopt, or `self` for windows drawn from the
    /// model itself; several are mixed, by weight with `FILE:WEIGHT`. Or statistics files that
    /// `llmopt calibrate` wrote, which add up
    #[arg(long, value_name = "SOURCE", help_heading = CALIBRATION)]
    pub(crate) calibrate: Vec<String>,
    #[command(flatten)]
    pub(crate) data: DataFlags,
    /// Move the range of inputs into weights (SmoothQuant), with the scales that leave the least noise or,
    /// given a strength from 0 to 1, by the maxima of both
    #[arg(long, value_name = "ALPHA", value_parser = smooth, num_args = 0..=1, default_missing_value = LEAST_NOISE, requires = "calibrate", help_heading = CALIBRATION)]
    pub(crate) smooth: Option<Smooth>,
    /// Observe all sites of a block with the block as it was found, in place of true-sequential order, in which
    /// each one is observed behind what is rewritten already
    #[arg(long, requires = "calibrate", help_heading = CALIBRATION)]
    pub(crate) whole_block: bool,
    /// What the inputs of products are rounded to while the model is observed; sums are always in
    /// f32 or wider [default: auto]
    #[arg(long, value_name = "D", requires = "calibrate", help_heading = CALIBRATION)]
    pub(crate) dtype: Option<CalibrationDtype>,
    /// What computes the products [default: auto]
    #[arg(long, value_name = "K", value_parser = Listed(KERNELS), requires = "calibrate", help_heading = CALIBRATION)]
    pub(crate) kernel: Option<String>,
    /// Folder for hidden states that do not fit in memory [default: the one that the artifact goes to]
    #[arg(long, value_name = "DIR", requires = "calibrate", help_heading = CALIBRATION)]
    pub(crate) scratch: Option<PathBuf>,

    /// How the artifact is laid out; `dense` is dequantized, for runtimes that know no quantization
    #[arg(long, value_name = "F", value_parser = Listed(FORMATS), default_value = "compressed-tensors", help_heading = ARTIFACT)]
    pub(crate) format: String,
    /// Element type of a dense artifact's quantized weights [default: f32]
    #[arg(long, value_name = "D", help_heading = ARTIFACT)]
    pub(crate) dense_dtype: Option<DenseDtype>,
    /// Whose rules the artifact must follow
    #[arg(long, value_name = "LIST", value_parser = Listed(RUNTIMES), value_delimiter = ',', default_value = "transformers,vllm", help_heading = ARTIFACT)]
    pub(crate) runtime: Vec<String>,
    /// Tensor-parallel degree whose divisibility must hold
    #[arg(long, value_name = "N", default_value = "1", value_parser = positive, help_heading = ARTIFACT)]
    pub(crate) tp: usize,
    /// Fail where something would fall back to another scheme
    #[arg(long, help_heading = ARTIFACT)]
    pub(crate) strict: bool,
    /// Where the artifact goes [default: the input's name with the scheme appended]
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
    /// Write the report to this `.json` file, too; with mixed precision also to an `.html` page
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run", help_heading = RUN)]
    pub(crate) report: Option<PathBuf>,
    /// List every tensor of the plan
    #[arg(short, long, requires = "dry_run", help_heading = RUN)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) quiet: Quiet,
    #[command(flatten)]
    pub(crate) console: ConsoleFlags,
}

/// Measure what an artifact lost against the original, and hold it to gates
#[derive(Debug, Args)]
#[command(after_help = examples::EVAL)]
pub(crate) struct Eval {
    /// Artifact or any other model: a Hugging Face folder
    pub(crate) artifact: PathBuf,
    /// The model that the artifact was made from
    #[arg(long, value_name = "MODEL", help_heading = MEASURED)]
    pub(crate) against: Option<PathBuf>,
    /// Text to predict: `.txt`, `.jsonl` with `text` or `messages`, or `.safetensors` of token ids;
    /// repeatable, each with a name: `--text chat=chat.jsonl`
    #[arg(long, value_name = "[NAME=]FILE", value_parser = named, help_heading = MEASURED)]
    pub(crate) text: Vec<NamedFile>,
    /// Multiple-choice questions: `.jsonl` with `question` or `context`, `choices` and `answer`;
    /// repeatable, each with a name
    #[arg(long, value_name = "[NAME=]FILE", value_parser = named, help_heading = MEASURED)]
    pub(crate) tasks: Vec<NamedFile>,
    /// Tokens of a window [default: 2048, or the model's context where that is shorter]
    #[arg(long, value_name = "N", value_parser = tokens, help_heading = MEASURED)]
    pub(crate) window: Option<usize>,
    /// Windows of each text, from its beginning [default: all]
    #[arg(long, value_name = "N", value_parser = tokens, help_heading = MEASURED)]
    pub(crate) samples: Option<usize>,
    /// Whether each window begins with the beginning-of-sequence (BOS) token [default: none]
    #[arg(long, value_name = "WHERE", help_heading = MEASURED)]
    pub(crate) bos: Option<Bos>,
    /// The day that a chat template may ask for, such as 2026-01-31
    #[arg(long, value_name = "DAY", help_heading = MEASURED)]
    pub(crate) date: Option<Date>,

    /// A bound that must hold, such as 'kld <= 0.03', 'top1 >= 92%' or 'size <= 5GB'; on one text or one
    /// file of questions with its name, 'chat.kld <= 0.03'; by a baseline 'kld <= 1.1 * baseline' or
    /// 'top1 >= baseline - 0.5%'; repeatable. It is unsure where its limit is in the metric's 95 % interval
    #[arg(long, value_name = "GATE", value_parser = gate, help_heading = GATES)]
    pub(crate) gate: Vec<Gate>,
    /// Evaluation that `baseline` in a gate stands for, measured on the same: a report that ends in `.json`, or
    /// a folder that holds `evaluation.json`
    #[arg(long, value_name = "FILE", help_heading = GATES)]
    pub(crate) baseline: Option<PathBuf>,
    /// While a gate is unsure, take more windows of each text, twice as many each time, up to so many [default:
    /// no more than --samples]
    #[arg(long, value_name = "N", value_parser = tokens, requires = "samples", help_heading = GATES)]
    pub(crate) max_samples: Option<usize>,
    /// What a gate counts as that is unsure in the end [default: fail]
    #[arg(long, value_name = "WHAT", help_heading = GATES)]
    pub(crate) on_unsure: Option<Unsure>,

    /// Print the plan and stop
    #[arg(long, help_heading = RUN)]
    pub(crate) dry_run: bool,
    /// Hard bound on resident memory, such as 8GiB or 500MB [default: 80 % of what is available, or
    /// 2GiB where that is unknown]
    #[arg(long, value_name = "SIZE", value_parser = units::size, help_heading = RUN)]
    pub(crate) memory: Option<u64>,
    /// Folder for hidden states that do not fit in memory [default: the current one]
    #[arg(long, value_name = "DIR", help_heading = RUN)]
    pub(crate) scratch: Option<PathBuf>,
    /// Write a report: `.json`, `.md`, `.html` or `.xml` (JUnit); repeatable
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run", help_heading = RUN)]
    pub(crate) report: Vec<PathBuf>,
    /// Write the artifact's logits of every token to this `.safetensors` file
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run", help_heading = RUN)]
    pub(crate) logits: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) compute: Compute,
    #[command(flatten)]
    pub(crate) quiet: Quiet,
    #[command(flatten)]
    pub(crate) console: ConsoleFlags,
}

/// Check an artifact: hashes, that no tensor is lost, and the rules of the runtimes
#[derive(Debug, Args)]
#[command(after_help = examples::VERIFY)]
pub(crate) struct Verify {
    /// Folder or file that `llmopt` wrote, or any compressed-tensors folder [default: the current
    /// folder, or the one `.safetensors` file in it]
    pub(crate) artifact: Option<PathBuf>,
    /// Whose rules the artifact must follow
    #[arg(long, value_name = "LIST", value_parser = Listed(RUNTIMES), value_delimiter = ',', default_value = "transformers,vllm")]
    pub(crate) runtime: Vec<String>,
    /// Checkpoint that it was made from: no tensor of it may be missing
    #[arg(long, value_name = "MODEL")]
    pub(crate) against: Option<PathBuf>,
    /// Read headers only: no hashes, no decoding
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write a manifest of the folder to this file, if it is sound: the statement with the hashes of all files that OpenSSF
    /// model signing signs. It is not signed
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,

    /// Make the artifact once more from its record, beginning with the model of --against, and compare every
    /// byte
    #[arg(long, requires = "against", help_heading = REBUILT)]
    pub(crate) rebuild: bool,
    /// Data that the model was observed on, where they do not lie under their recorded names in the current folder or
    /// beside the model; repeatable
    #[arg(long, value_name = "FILE", requires = "rebuild", help_heading = REBUILT)]
    pub(crate) data: Vec<PathBuf>,
    /// Hard bound on resident memory, such as 8GiB or 500MB [default: 80 % of what is available, or
    /// 2GiB where that is unknown]
    #[arg(long, value_name = "SIZE", value_parser = units::size, requires = "rebuild", help_heading = REBUILT)]
    pub(crate) memory: Option<u64>,
    /// Worker threads; no byte depends on them [default: as many as the machine runs at once]
    #[arg(long, value_name = "N", value_parser = positive, requires = "rebuild", help_heading = REBUILT)]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) quiet: Quiet,
    #[command(flatten)]
    pub(crate) console: ConsoleFlags,
}

/// Hold two models against each other: every tensor, the config, and quality
#[derive(Debug, Args)]
#[command(after_help = examples::DIFF)]
pub(crate) struct Diff {
    /// Folder or file: an artifact, or any dense model
    pub(crate) a: PathBuf,
    /// Another, which errors are relative to
    pub(crate) b: PathBuf,
    /// Read headers only: no weight is decoded, and no error told
    #[arg(long, help_heading = RUN)]
    pub(crate) quick: bool,
    /// List every tensor, not only those with the greatest errors
    #[arg(long, conflicts_with = "json", help_heading = RUN)]
    pub(crate) all: bool,
    /// Hard bound on resident memory, such as 8GiB or 500MB [default: 80 % of what is available, or
    /// 2GiB where that is unknown]
    #[arg(long, value_name = "SIZE", value_parser = units::size, help_heading = RUN)]
    pub(crate) memory: Option<u64>,
    /// Worker threads; no result depends on them [default: as many as the machine runs at once]
    #[arg(long, value_name = "N", value_parser = positive, help_heading = RUN)]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) console: ConsoleFlags,
}

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(after_help = examples::COMPLETIONS)]
pub(crate) struct Completions {
    /// Which
    pub(crate) shell: Shell,
}

/// How a model is run.
#[derive(Clone, Debug, Args)]
pub(crate) struct Compute {
    /// What the inputs of products are rounded to; sums are always in f32
    #[arg(long, value_name = "D", default_value = "f32", help_heading = RUN)]
    pub(crate) dtype: EvalDtype,
    /// What inputs become where a weight is integer codes
    #[arg(long, value_name = "A", default_value = "artifact", help_heading = RUN)]
    pub(crate) activations: CodeInputs,
    /// What computes the products
    #[arg(long, value_name = "K", value_parser = Listed(KERNELS), default_value = "auto", help_heading = RUN)]
    pub(crate) kernel: String,
    /// Worker threads; no result depends on them [default: as many as the machine runs at once]
    #[arg(long, value_name = "N", value_parser = positive, help_heading = RUN)]
    pub(crate) threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DenseDtype {
    /// Exactly the values that the codes stand for
    F32,
    /// The source's own: values are rounded to it
    Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bos {
    /// Windows hold the text alone
    None,
    /// Each window begins with it
    Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unsure {
    /// As missed: only what is shown to hold passes
    Fail,
    /// As passed: only what is shown not to hold is missed
    Pass,
}

impl From<Unsure> for OnUnsure {
    fn from(unsure: Unsure) -> Self {
        match unsure {
            Unsure::Fail => Self::Fail,
            Unsure::Pass => Self::Pass,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CalibrationDtype {
    /// bf16 where the processor has instructions for it (AMX or AVX512-BF16), otherwise f32
    Auto,
    /// Not rounded
    F32,
    /// To bfloat16
    Bf16,
}

impl CalibrationDtype {
    /// As the library calls it, where products are computed by `kernel`.
    pub(crate) fn precision(self, kernel: KernelChoice) -> Precision {
        match self {
            Self::Auto => Precision::fastest(kernel),
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

/// The value of `--group-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Columns(usize),
    Channel,
}

impl Command {
    /// How the command speaks.
    pub(crate) fn console(&self) -> Console {
        match self {
            Self::Inspect(flags) => flags.console.console(false),
            Self::Quantize(flags) => flags.console.console(flags.quiet.quiet),
            Self::Prune(flags) => flags.console.console(flags.quiet.quiet),
            Self::Calibrate(flags) => flags.console.console(flags.quiet.quiet),
            Self::Ladder(flags) => flags.console.console(flags.quiet.quiet),
            Self::Run(flags) => flags.console.console(flags.quiet.quiet),
            Self::Recipe(Recipe { command: RecipeCommand::Init(flags) }) => {
                flags.console.console(false)
            }
            Self::Recipe(_) => Console::default(),
            Self::Eval(flags) => flags.console.console(flags.quiet.quiet),
            Self::Generate(flags) => flags.console.console(flags.quiet.quiet),
            Self::Bench(flags) => flags.console.console(flags.quiet.quiet),
            Self::Verify(flags) => flags.console.console(flags.quiet.quiet),
            Self::Card(flags) => flags.console.console(flags.quiet.quiet),
            Self::Diff(flags) => flags.console.console(false),
            Self::Completions(_) => Console::default(),
        }
    }
}

impl ValueParserFactory for Group {
    type Parser = fn(&str) -> Result<Self, String>;

    fn value_parser() -> Self::Parser {
        |text| match text.parse() {
            _ if text == "channel" || text == "-1" => Ok(Self::Channel),
            Ok(columns) if columns > 0 => Ok(Self::Columns(columns)),
            _ => Err("a group is a number of columns, or `channel`".to_owned()),
        }
    }
}

fn gate(text: &str) -> Result<Gate, String> {
    text.parse().map_err(|error: GateError| error.to_string())
}

fn named(text: &str) -> Result<NamedFile, String> {
    text.parse().map_err(|error: NamedFileError| error.to_string())
}

fn temperature(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=MOST_HEAT).contains(number));
    number.ok_or_else(|| format!("expected a number from 0 to {MOST_HEAT}"))
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| *number > 0.0 && *number <= 1.0);
    number.ok_or_else(|| "expected a number above 0 and at most 1".to_owned())
}

/// What `--smooth` alone stands for.
const LEAST_NOISE: &str = "least-noise";

fn smooth(text: &str) -> Result<Smooth, String> {
    if text == LEAST_NOISE {
        return Ok(Smooth::LeastNoise);
    }
    let strength = text.parse().ok().filter(|strength| (0.0..=1.0).contains(strength));
    strength.map(Smooth::Strength).ok_or_else(|| "expected a strength from 0 to 1".to_owned())
}

pub(crate) const BITS: &[&str] = &["8", "7", "6", "5", "4", "3", "2"];
pub(crate) const SCHEMES: &[&str] = llmopt_pipeline::Scheme::NAMES;
pub(crate) const METHODS: &[&str] = llmopt_pipeline::Method::NAMES;
pub(crate) const FORMATS: &[&str] = &["compressed-tensors", "dense"];
pub(crate) const RUNTIMES: &[&str] =
    &["transformers", "vllm", "vllm-cpu", "sglang", "llama.cpp", "mlx"];

/// Beyond it, what is drawn is noise.
const MOST_HEAT: f64 = 100.0;

const SCHEME: &str = "What is quantized, and how";
const CALIBRATION: &str = "What the model is observed on";
const ARTIFACT: &str = "The artifact";
const GATES: &str = "What must hold";
const REBUILT: &str = "Made once more";
const SPOKEN: &str = "What is generated";
const REQUESTS: &str = "A file of requests";
