//! What the report tells of smoothing: enough to make every smoothed tensor again.

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

impl PlannedSmoothing {
    /// What was decided; none, before it was.
    pub(crate) fn report(&self) -> Option<SmoothingReport> {
        let pairs = self.decided()?.pairs().to_vec();
        Some(SmoothingReport { strength: self.smooth, pairs, refused: self.refused.clone() })
    }
}
