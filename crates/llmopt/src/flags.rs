//! The command line as `clap` reads it. Help, completions and `docs/cli.md` come from here.
//!
//! What the values mean together is [`crate::request`]'s concern.

use crate::exit;
use crate::print::Voice;
use crate::units;
use clap::builder::{PossibleValue, TypedValueParser, ValueParserFactory};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::ffi::OsStr;
use std::path::PathBuf;

/// Shrinks language-model checkpoints offline: no Python, no GPU, in a memory budget that it keeps
#[derive(Debug, Parser)]
#[command(name = "llmopt", version, after_help = exit::HELP)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Inspect(Inspect),
    Quantize(Box<Quantize>),
    Verify(Verify),
    Completions(Completions),
}

/// Say what is in a checkpoint, what can be shrunk, and what each scheme would weigh
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Hugging Face folder, or a single `.safetensors` file
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) voice: VoiceFlags,
}

/// Write a smaller artifact that the runtimes asked for load unmodified
#[derive(Debug, Args)]
pub(crate) struct Quantize {
    /// Hugging Face folder, or a single `.safetensors` file
    pub(crate) model: PathBuf,

    /// Bits of a weight: short for `--scheme wNa16` [default: 8]
    #[arg(long, value_name = "N", value_parser = Listed(BITS), help_heading = SCHEME)]
    pub(crate) bits: Option<String>,
    /// Number formats of weights and activations [default: from --bits]
    #[arg(long, value_name = "S", value_parser = Listed(SCHEMES), help_heading = SCHEME)]
    pub(crate) scheme: Option<String>,
    /// Columns of a row that share a scale, or `channel` [default: per channel at 8 bits; at 4 the
    /// largest of 128, 64 and 32 that divides every row of a fused group]
    #[arg(long, value_name = "N|channel", help_heading = SCHEME)]
    pub(crate) group_size: Option<Group>,
    /// Give every scale a zero point
    #[arg(long, help_heading = SCHEME)]
    pub(crate) asymmetric: bool,
    /// How scales are chosen: from the absolute maximum, or by the error they leave
    #[arg(long, value_name = "M", value_parser = Listed(METHODS), default_value = "search", help_heading = SCHEME)]
    pub(crate) method: String,
    /// Quantize only tensors whose full name matches; repeatable
    #[arg(long, value_name = "GLOB", help_heading = SCHEME)]
    pub(crate) include: Vec<String>,
    /// Keep tensors whose full name matches as they are; repeatable
    #[arg(long, value_name = "GLOB", help_heading = SCHEME)]
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
    /// Write the report to this `.json` file, too
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run", help_heading = RUN)]
    pub(crate) report: Option<PathBuf>,
    /// List every tensor of the plan
    #[arg(short, long, requires = "dry_run", help_heading = RUN)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) quiet: Quiet,
    #[command(flatten)]
    pub(crate) voice: VoiceFlags,
}

/// Check an artifact: hashes, that no tensor is lost, and the rules of the runtimes
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Folder or file that `llmopt` wrote, or any compressed-tensors folder
    pub(crate) artifact: PathBuf,
    /// Whose rules the artifact must follow
    #[arg(long, value_name = "LIST", value_parser = Listed(RUNTIMES), value_delimiter = ',', default_value = "transformers,vllm")]
    pub(crate) runtime: Vec<String>,
    /// Checkpoint that it was made from: no tensor of it may be missing
    #[arg(long, value_name = "MODEL")]
    pub(crate) against: Option<PathBuf>,
    /// Read headers only: no hashes, no decoding
    #[arg(long)]
    pub(crate) quick: bool,
    #[command(flatten)]
    pub(crate) quiet: Quiet,
    #[command(flatten)]
    pub(crate) voice: VoiceFlags,
}

/// Print the completions of a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which
    pub(crate) shell: Shell,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Quiet {
    /// Say nothing but errors
    #[arg(short, long, help_heading = RUN)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct VoiceFlags {
    /// Print one JSON document on standard output, and events as lines of JSON on standard error
    #[arg(long, help_heading = RUN)]
    pub(crate) json: bool,
    /// When errors and progress are coloured
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = RUN)]
    color: Color,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DenseDtype {
    /// Exactly the values that the codes stand for
    F32,
    /// The source's own: values are rounded to it
    Source,
}

/// The value of `--group-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Columns(usize),
    Channel,
}

impl Command {
    /// How the command speaks.
    pub(crate) fn voice(&self) -> Voice {
        match self {
            Self::Inspect(flags) => flags.voice.voice(false),
            Self::Quantize(flags) => flags.voice.voice(flags.quiet.quiet),
            Self::Verify(flags) => flags.voice.voice(flags.quiet.quiet),
            Self::Completions(_) => Voice::default(),
        }
    }
}

impl VoiceFlags {
    /// With `quiet` from elsewhere, since not every command can be.
    pub(crate) fn voice(self, quiet: bool) -> Voice {
        let color = match self.color {
            Color::Auto => Voice::default().color,
            Color::Always => true,
            Color::Never => false,
        };
        Voice { quiet, json: self.json, color }
    }
}

impl ValueParserFactory for Group {
    type Parser = fn(&str) -> Result<Self, String>;

    fn value_parser() -> Self::Parser {
        |text| match text.parse() {
            _ if text == "channel" => Ok(Self::Channel),
            Ok(columns) if columns > 0 => Ok(Self::Columns(columns)),
            _ => Err("a group is a number of columns, or `channel`".to_owned()),
        }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {MOST}"))
}

/// Names for help and completions. Others are let through, to be refused with a reason.
#[derive(Clone, Copy)]
struct Listed(&'static [&'static str]);

impl TypedValueParser for Listed {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        clap::builder::StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
}

pub(crate) const BITS: &[&str] = &["8", "4"];
pub(crate) const SCHEMES: &[&str] = llmopt_pipeline::Scheme::NAMES;
pub(crate) const METHODS: &[&str] = &["search", "rtn"];
pub(crate) const FORMATS: &[&str] = &["compressed-tensors", "dense"];
pub(crate) const RUNTIMES: &[&str] = &["transformers", "vllm", "sglang", "llama.cpp", "mlx"];

/// No machine has more processors, and no cluster more devices that share a matrix.
const MOST: usize = 1024;

const SCHEME: &str = "What is quantized, and how";
const ARTIFACT: &str = "The artifact";
const RUN: &str = "The run";
