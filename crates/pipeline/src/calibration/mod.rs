//! Calibration: what a model computes on data, and what follows from it for its weights.

pub(crate) mod budget;
pub(crate) mod choice;
pub(crate) mod cut;
pub(crate) mod estimate;
pub(crate) mod facts;
pub(crate) mod needs;
pub(crate) mod observe;
pub(crate) mod observed_data;
pub(crate) mod observing;
pub(crate) mod plan;
pub(crate) mod smoothing;
pub(crate) mod stage;
pub(crate) mod statistics;

pub use budget::CalibrationMemory;
pub use facts::{Calibrated, HeldOut, TriedMethod};
pub use plan::CalibrationSummary;
pub use smoothing::{Smooth, SmoothingReport, SmoothingSummary, UnsmoothedInputs};
pub(crate) use statistics::observed_to;
pub use statistics::{
    ModelIdentity, ObservedRun, StatisticsPlan, StatisticsReport, StatisticsRequest,
    StatisticsSummary, observe_statistics, plan_statistics,
};
