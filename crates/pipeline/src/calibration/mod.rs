//! Calibration: what a model computes on data, and what follows from it for its weights.

pub(crate) mod block_runs;
pub(crate) mod budget;
pub(crate) mod choice;
pub(crate) mod cut;
pub(crate) mod estimate;
pub(crate) mod facts;
pub(crate) mod needs;
pub(crate) mod observe;
pub(crate) mod observed_data;
pub(crate) mod plan;
pub(crate) mod rewrite;
pub(crate) mod run;
pub(crate) mod smoothing;
pub(crate) mod statistics;
pub(crate) mod streams;
pub(crate) mod sweep;
pub(crate) mod written;

pub use block_runs::BlockRuns;
pub use budget::CalibrationMemory;
pub use facts::{Calibrated, HeldOut, TriedMethod};
pub use plan::CalibrationSummary;
pub use smoothing::{Smooth, SmoothingReport, SmoothingSummary, UnsmoothedInputs};
pub use statistics::{
    ModelIdentity, ObservedRun, StatisticsPlan, StatisticsReport, StatisticsRequest,
    StatisticsSummary, observe_statistics, plan_statistics,
};
