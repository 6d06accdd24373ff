//! Mixes of axes, and how it is chosen among them.

use llmopt_eval::Estimate;
use llmopt_sweep::ReadingMemory;
use serde::Serialize;

/// How it is chosen among several mixes.
pub(super) struct PlannedChoice {
    /// Windows that judge. Nothing is fitted to them.
    pub(super) windows: usize,
    pub(super) memory: ReadingMemory,
}

impl PlannedChoice {
    /// That it is decided by little, if it is.
    pub(super) fn note(&self) -> Option<String> {
        (self.windows == 1).then(|| {
            "one window is held out to choose the axes by, which is few: from 14 `--samples` on two are, \
             and beside 128 eighteen"
                .to_owned()
        })
    }
}

/// What a dry run shows of a choice.
#[derive(Clone, Debug, Serialize)]
pub struct ChoiceSummary {
    /// The mixes of axes, the preferred one first where numbers are equal.
    pub candidates: Vec<Mix>,
    /// Windows that judge.
    pub windows: usize,
    /// Memory that judging takes.
    pub memory: ReadingMemory,
}

/// A mix of axes, and the share of the blocks' parameters that it removes.
#[derive(Clone, Debug, Serialize)]
pub struct Mix {
    /// The axes.
    pub axes: Vec<&'static str>,
    /// The share.
    pub sparsity: f64,
}

/// A mix of axes that was not tried.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// The axes.
    pub axes: Vec<&'static str>,
    /// Why not.
    pub why: String,
}

/// What was decided, and by which numbers.
#[derive(Clone, Debug, Serialize)]
pub struct PruneDecision {
    /// Windows that it was decided on. Nothing was fitted to them.
    pub windows: usize,
    /// The mixes of axes, with what was lost.
    pub candidates: Vec<JudgedMix>,
    /// The axes of the one that was taken.
    pub chosen: Vec<&'static str>,
    /// Its number.
    #[serde(skip)]
    pub(super) best: usize,
}

/// A mix of axes that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct JudgedMix {
    /// The mix.
    #[serde(flatten)]
    pub mix: Mix,
    /// Mean KL divergence from the original model, in nats, with its 95 % interval.
    pub kld: Estimate,
}
