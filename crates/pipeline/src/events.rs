//! What a run tells while it runs, and how it is told to stop.

use std::sync::atomic::{AtomicBool, Ordering};

/// What a run reports. Every method has an empty default; calls come from several threads.
pub trait Events: Sync {
    /// A stage begins that will go through `bytes` bytes.
    fn stage_started(&self, stage: &'static str, bytes: u64) {
        let _ = (stage, bytes);
    }

    /// Another `bytes` bytes of the stage are done; the last of them belong to `tensor`.
    fn advanced(&self, bytes: u64, tensor: &str) {
        let _ = (bytes, tensor);
    }

    /// The stage is over.
    fn stage_finished(&self, stage: &'static str) {
        let _ = stage;
    }

    /// Something that the user should know although nothing is wrong.
    fn note(&self, text: &str) {
        let _ = text;
    }
}

/// Reports nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Events for Silent {}

/// Asks a run to stop at the next band.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// Not asked yet.
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Asks.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
