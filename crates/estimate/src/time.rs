//! How long a run takes, stage by stage.

use crate::measure::Speed;
use llmopt_sweep::Work;
use serde::Serialize;
use std::collections::BTreeMap;

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
    /// Operations that it is made of, by their kind: multiply-adds, numbers, bytes.
    pub operations: BTreeMap<&'static str, f64>,
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
pub type Stages = Vec<(&'static str, Work)>;

impl TimeEstimate {
    /// Stages of so much work each, at a speed.
    pub fn of(stages: &[(&'static str, Work)], speed: &Speed) -> Self {
        let seconds = |work: &Work| work.seconds(&speed.rates);
        let stages: Vec<StageEstimate> = stages
            .iter()
            .map(|(stage, work)| StageEstimate {
                stage,
                seconds: seconds(work),
                operations: work.by_name().collect(),
            })
            .collect();
        Self { seconds: stages.iter().map(|stage| stage.seconds).sum(), stages }
    }
}

impl Windows {
    /// Sequences that stand for windows of this length and number.
    pub fn placeholders(self) -> Vec<Vec<u32>> {
        vec![vec![0; self.window]; self.windows]
    }
}
