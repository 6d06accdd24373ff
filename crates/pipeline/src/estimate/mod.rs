//! How long a run will take: its operations counted stage by stage, over this machine's speed.
//!
//! What is counted follows from shapes alone ([`Work`]). What an operation costs is typical of a server,
//! until a run is long enough to be worth measuring for ([`Speed`]). It never knows what a clock has
//! shown since the run began: that is the affair of who shows progress.

mod forward;
mod measure;
mod meter;
mod pieces;
mod quantize;
mod work;

pub(crate) use forward::{head, head_weights, passed, phase, read, share_of_expert, weights};
pub use measure::Speed;
pub(crate) use meter::Meter;
pub(crate) use pieces::{choosing, copied, drawn, looked_at, read_back, refitting};
pub(crate) use work::{Kind, Work};

use serde::Serialize;

/// How long a run will take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimeEstimate {
    /// Seconds of the whole run.
    pub seconds: f64,
    /// Its stages, in the order in which they are reported.
    pub stages: Vec<StageEstimate>,
}

/// How long a stage will take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageEstimate {
    /// Its name.
    pub stage: &'static str,
    /// Seconds.
    pub seconds: f64,
}

/// How many windows go through a model, and how long they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Windows {
    /// Windows.
    pub windows: usize,
    /// Tokens of a window.
    pub window: usize,
}

/// The work of every stage, in order.
pub(crate) type Stages = Vec<(&'static str, Work)>;

impl TimeEstimate {
    pub(crate) fn of(stages: &[(&'static str, Work)], speed: &Speed) -> Self {
        let seconds = |work: &Work| work.seconds(&speed.rates);
        let stages: Vec<StageEstimate> = stages
            .iter()
            .map(|(stage, work)| StageEstimate { stage, seconds: seconds(work) })
            .collect();
        Self { seconds: stages.iter().map(|stage| stage.seconds).sum(), stages }
    }
}

impl Windows {
    /// Sequences that stand for windows of this length and number.
    pub(crate) fn placeholders(self) -> Vec<Vec<u32>> {
        vec![vec![0; self.window]; self.windows]
    }
}
