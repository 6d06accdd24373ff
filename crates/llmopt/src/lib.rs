//! The `llmopt` command line: flags to a recipe, printing, progress and exit codes.
//!
//! Everything else is [`llmopt_pipeline`]'s. This crate never sees a tensor's bytes.

#![forbid(unsafe_code)]

mod absent;
mod command;
mod current;
mod exit;
mod failure;
mod flags;
mod loading;
mod passed;
mod print;
mod progress;
mod recipe;
mod reference;
mod report;
mod request;
mod signal;
mod timing;
mod units;
mod vain;

#[cfg(test)]
mod tests;

pub use reference::reference;

use clap::{CommandFactory, FromArgMatches};
use failure::Failure;
use flags::Flags;
use print::Console;
use std::ffi::OsString;
use std::process::ExitCode;

/// The command line's definition, from which help, completions and the reference are made.
pub fn command() -> clap::Command {
    Flags::command()
}

/// The keys of recipes, from the options of the commands.
pub fn recipe_catalog() -> llmopt_recipe::Section {
    recipe::catalog()
}

/// Runs `llmopt` with `args`, the first of which is the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (console, result) = match parsed(args) {
        Ok(flags) => (flags.command.console(), command::run(flags.command)),
        Err(failure) => (Console::default(), Err(failure)),
    };
    if let Err(failure) = &result {
        failure.report(console);
    }
    exit::code(&result)
}

/// The flags that `args` are.
fn parsed(args: impl IntoIterator<Item = OsString>) -> Result<Flags, Failure> {
    let matches = command().try_get_matches_from(args);
    matches.and_then(|matches| Flags::from_arg_matches(&matches)).map_err(Failure::of_flags)
}
