//! A fault of an artifact.

use serde::Serialize;

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
