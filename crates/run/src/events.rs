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

    /// So large a share of the stage's work is done beyond what was told before. Stages that are told of
    /// in this way come in smaller steps than [`Events::advanced`] shows, and in even ones.
    fn worked(&self, share: f64) {
        let _ = share;
    }

    /// So large a share of the stage's work was done before, by an earlier run or by another stage.
    fn passed_over(&self, share: f64) {
        let _ = share;
    }

    /// An earlier run was interrupted, and this one goes on from there: from `place`, in the stage that
    /// has just begun.
    fn resuming(&self, place: &str) {
        let _ = place;
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
