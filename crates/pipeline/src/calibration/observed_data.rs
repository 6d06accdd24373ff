//! What a model is observed on, as it is in memory.

use llmopt_data::CalibrationFacts;

/// What a model is observed on.
pub(crate) struct ObservedData {
    /// Token ids.
    pub(crate) windows: Vec<Vec<u32>>,
    pub(crate) facts: CalibrationFacts,
}
