//! Why a command did not do what was asked, and how that is said.

use crate::absent;
use crate::print::{self, Console};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde_json::json;

/// Everything that ends a command early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The flags are not those of [`crate::command()`].
    Flags(clap::Error),
    /// The flags contradict each other, or ask for what this version does not have.
    Refused(Refusal),
    /// The library refused or failed.
    Run(Box<llmopt_pipeline::Error>),
    /// An artifact was checked and is not sound.
    Faults {
        /// Which.
        artifact: String,
        /// How many.
        faults: usize,
    },
    /// An artifact is not what its record makes.
    Differs {
        /// Which.
        artifact: String,
        /// How many of its files differ.
        files: usize,
    },
    /// All was done, and these gates were missed: a line for each.
    Gates(Vec<String>),
    /// Standard output could not be written.
    Standard(std::io::Error),
    /// Standard input could not be read.
    StandardInput(std::io::Error),
}

/// A request that is refused, with advice.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What is refused, and why.
    pub(crate) message: String,
    /// What to do instead.
    pub(crate) hint: String,
}

impl Failure {
    /// What `clap` made of the flags: what this version does not have is refused by name, and anything else
    /// is said as `clap` says it.
    pub(crate) fn of_flags(error: clap::Error) -> Self {
        let requested = match error.kind() {
            ErrorKind::InvalidSubcommand => error.get(ContextKind::InvalidSubcommand),
            ErrorKind::UnknownArgument => error.get(ContextKind::InvalidArg),
            _ => None,
        };
        let refusal = match requested {
            Some(ContextValue::String(name)) => absent::refusal(name),
            _ => None,
        };
        refusal.map_or(Self::Flags(error), Self::Refused)
    }

    /// Says it on standard error; as a line of JSON where those are wanted. Help and versions go to standard
    /// output.
    pub(crate) fn report(&self, console: Console) {
        match self {
            // If nobody reads help, there is nobody to tell.
            Self::Flags(error) => drop(error.print()),
            Self::Gates(missed) => missed.iter().for_each(|line| say_missed(line, console)),
            _ if console.json => print::event(
                &json!({ "event": "error", "message": self.message(), "hint": self.hint() }),
            ),
            _ => print::error(&self.message(), self.hint().as_deref(), console.color),
        }
    }

    /// What is the matter.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Flags(error) => error.to_string(),
            Self::Gates(missed) => missed.join("\n"),
            Self::Refused(refusal) => refusal.message.clone(),
            Self::Run(error) => error.to_string(),
            Self::Faults { artifact, faults } => {
                format!("`{artifact}` has {}", crate::units::counted(*faults, "fault"))
            }
            Self::Differs { artifact, files } => format!(
                "`{artifact}` is not what its record makes: {} differ{}",
                crate::units::counted(*files, "file"),
                if *files == 1 { "s" } else { "" }
            ),
            Self::Standard(error) => format!("cannot write to standard output: {error}"),
            Self::StandardInput(error) => format!("cannot read standard input: {error}"),
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => Some(refusal.hint.clone()),
            Self::Run(error) => error.hint(),
            _ => None,
        }
    }
}

fn say_missed(line: &str, console: Console) {
    if console.json {
        print::event(&json!({ "event": "gate-missed", "message": line }));
    } else {
        print::say(line);
    }
}

impl Refusal {
    /// A refusal.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<llmopt_pipeline::Error> for Failure {
    fn from(error: llmopt_pipeline::Error) -> Self {
        Self::Run(Box::new(error))
    }
}
