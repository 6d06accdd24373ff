//! What the report tells of smoothing: enough to make every smoothed tensor again.

use crate::calibration::budget::CalibrationMemory;
use crate::calibration::smoothing::plan::{PlannedSmoothing, UnsmoothedInputs};
use crate::calibration::smoothing::recipe::Smooth;
use llmopt_model::ScaledPair;
use serde::Serialize;

/// Which channels were smoothed, with which scales.
#[derive(Clone, Debug, Serialize)]
pub struct SmoothingReport {
    /// How scales were chosen: `least-noise`, or a strength.
    pub strength: Smooth,
    /// Channels and their scales, in the order of execution.
    pub pairs: Vec<ScaledPair>,
    /// Inputs that stayed as they were.
    pub refused: Vec<UnsmoothedInputs>,
}

/// What a plan says of smoothing.
#[derive(Clone, Debug, Serialize)]
pub struct SmoothingSummary {
    /// How scales are chosen: `least-noise`, or a strength.
    pub strength: Smooth,
    /// Inputs that are smoothed.
    pub smoothed: usize,
    /// Inputs that stay as they are.
    pub refused: Vec<UnsmoothedInputs>,
    /// Memory that finding scales takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<CalibrationMemory>,
}

impl PlannedSmoothing {
    /// It in a form for people and programs.
    pub(crate) fn summary(&self) -> SmoothingSummary {
        SmoothingSummary {
            strength: self.smooth,
            smoothed: self.blocks.iter().map(Vec::len).sum(),
            refused: self.refused.clone(),
            memory: self.memory.clone(),
        }
    }

    /// What was decided; none, before it was.
    pub(crate) fn report(&self) -> Option<SmoothingReport> {
        let pairs = self.decided()?.pairs().to_vec();
        Some(SmoothingReport { strength: self.smooth, pairs, refused: self.refused.clone() })
    }
}
