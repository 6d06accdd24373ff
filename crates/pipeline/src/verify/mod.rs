//! Whether an artifact is what it says it is, and whether its loaders will agree.

use crate::{Cancel, Error, Events, Plan, Runtime};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Something wrong with an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Which kind of fault: one word or two, for programs.
    pub code: &'static str,
    /// The tensor, module, file or key that is at fault.
    pub subject: String,
    /// What is wrong, what was expected, and what breaks.
    pub message: String,
}

/// What to hold the artifact against.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Whose rules it must follow.
    pub runtimes: Vec<Runtime>,
    /// The model that it was made from.
    pub against: Option<PathBuf>,
    /// Whether to leave out what reads every byte: hashes and decoding.
    pub quick: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verification {
    /// Everything that is wrong; empty for a sound artifact.
    pub faults: Vec<Fault>,
    /// What was looked at, and how many of it.
    pub checked: Vec<Checked>,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// What, in the plural: `files hashed`, `matrices decoded`.
    pub what: &'static str,
    /// How many.
    pub count: u64,
}

/// Verifies.
pub fn verify(
    _path: &Path,
    _options: &VerifyOptions,
    _events: &dyn Events,
    _cancel: &Cancel,
) -> Result<Verification, Error> {
    Ok(Verification::default())
}

pub(crate) fn before_publishing(_: &Plan, _: &Path, _: &Cancel) -> Result<(), Error> {
    Ok(())
}
