//! Exit codes: the one place that decides them.

use crate::failure::Failure;
use llmopt_pipeline::{Blame, Error};
use std::io::ErrorKind;
use std::process::ExitCode;

/// The code that tells a script what became of the run.
pub(crate) fn code(result: &Result<(), Failure>) -> ExitCode {
    ExitCode::from(match result {
        Ok(()) => DONE,
        Err(Failure::Refused(_)) => REQUEST,
        Err(Failure::Flags(error)) if error.use_stderr() => REQUEST,
        Err(Failure::Flags(_)) => DONE,
        Err(Failure::Gates(_)) => GATE,
        Err(Failure::Faults { .. } | Failure::Differs { .. }) => INPUT,
        Err(Failure::StandardInput(error)) if error.kind() == ErrorKind::InvalidData => INPUT,
        Err(Failure::Standard(_) | Failure::StandardInput(_)) => SYSTEM,
        Err(Failure::Run(error)) => of_run(error),
    })
}

fn of_run(error: &Error) -> u8 {
    match (error, error.blame()) {
        (Error::Interrupted | Error::Paused, _) => INTERRUPTED,
        (_, Blame::Request) => REQUEST,
        (_, Blame::Input) => INPUT,
        (_, Blame::System) => SYSTEM,
    }
}

/// Ends the program at once, for whoever asks a second time.
#[expect(clippy::disallowed_methods, reason = "this is the module that decides exit codes")]
pub(crate) fn interrupted_at_once() -> ! {
    std::process::exit(INTERRUPTED.into())
}

/// What `--help` says about them.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    done, but a gate was missed
  2    the request is wrong: options, or a plan that cannot be carried out
  3    the input is wrong: a file, a shape, a model family, or an artifact with faults
  4    the system failed: reading, writing, memory
  130  interrupted";

const DONE: u8 = 0;
const GATE: u8 = 1;
const REQUEST: u8 = 2;
const INPUT: u8 = 3;
const SYSTEM: u8 = 4;
const INTERRUPTED: u8 = 130;
