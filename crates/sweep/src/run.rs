//! With what the sweeps of a command are carried out.

use llmopt_forward::Engine;
use llmopt_run::{Cancel, Error, Events, Resources};
use std::path::Path;

/// What computes, what it may use, who is told of progress, and whether to stop.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// What computes.
    pub engine: &'a Engine,
    /// Memory and threads.
    pub resources: Resources,
    /// A folder for hidden states that do not fit in memory.
    pub scratch: &'a Path,
    /// Who is told of progress.
    pub events: &'a dyn Events,
    /// Whether to stop.
    pub cancel: &'a Cancel,
}

impl Run<'_> {
    /// # Errors
    /// [`Error::Interrupted`] if the run is to stop.
    pub fn go_on(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() { Err(Error::Interrupted) } else { Ok(()) }
    }
}
