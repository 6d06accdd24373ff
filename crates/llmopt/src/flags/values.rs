//! What options of several commands share: how a command speaks, values, headings.

use crate::print::Console;
use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Args, ValueEnum};
use llmopt_pipeline::{Drafting, InputCodes, Precision};
use std::ffi::OsStr;

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Quiet {
    /// Say nothing but errors
    #[arg(short, long, help_heading = RUN)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ConsoleFlags {
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

impl ConsoleFlags {
    /// With `quiet` from elsewhere, since not every command can be.
    pub(crate) fn console(self, quiet: bool) -> Console {
        let color = match self.color {
            Color::Auto => Console::default().color,
            Color::Always => true,
            Color::Never => false,
        };
        Console { quiet, json: self.json, color }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EvalDtype {
    /// Not rounded
    F32,
    /// To bfloat16, as most runtimes do
    Bf16,
}

impl EvalDtype {
    /// As the library calls it.
    pub(crate) fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CodeInputs {
    /// As the artifact's scheme says; where it leaves them as they are, sixteen bits, which lose less than bf16
    Artifact,
    /// Eight bits, a scale for every 128 columns: faster with many sequences, and not what was promised
    Int8,
}

impl CodeInputs {
    /// As the library calls it.
    pub(crate) fn codes(self) -> InputCodes {
        match self {
            Self::Artifact => InputCodes::Int16,
            Self::Int8 => InputCodes::Int8,
        }
    }
}

pub(super) fn tokens(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST_TOKENS).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {MOST_TOKENS}"))
}

pub(super) fn proposals(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=Drafting::MOST).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {}", Drafting::MOST))
}

pub(super) fn positive(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {MOST}"))
}

/// Names for help and completions, without regard to case, as `W4A16` is often spelled. Others are let
/// through, to be refused with a reason.
#[derive(Clone, Copy)]
pub(super) struct Listed(pub(super) &'static [&'static str]);

impl TypedValueParser for Listed {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        let text = clap::builder::StringValueParser::new().parse_ref(command, arg, value)?;
        Ok(text.to_ascii_lowercase())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
}

pub(crate) const KERNELS: &[&str] =
    &["auto", "portable", "faer", "avx2", "avx512", "avx512bf16", "amx"];

/// No machine has more processors, and no cluster more devices that share a matrix.
const MOST: usize = 1024;
/// No text has more windows, and no window more tokens.
const MOST_TOKENS: usize = 1 << 32;

pub(super) const MEASURED: &str = "What is measured";
pub(super) const RUN: &str = "The run";
