//! Calibration: what a model computes on data, and what follows from it for its weights.

mod budget;
mod choice;
mod data;
mod estimate;
mod facts;
mod gumbel;
mod observe;
mod own;
mod plan;
mod rewrite;
mod run;
mod source;
mod statistics;
mod streams;
mod sweep;
mod written;

pub use budget::CalibrationMemory;
pub(crate) use data::CalibrationSet;
pub use data::{CalibrationFacts, CalibrationRequest, SourceFacts};
pub(crate) use estimate::BlockWork;
pub use facts::{Calibrated, HeldOut, TriedMethod};
pub(crate) use own::{Drawing, Own, SWEEPS};
pub use plan::CalibrationSummary;
pub(crate) use plan::{Calibration, beside_held_out, check_room, held_out, in_batches};
pub(crate) use run::{Data, calibrated};
pub use source::{CalibrationSource, SourceError};
pub(crate) use statistics::resolved;
pub use statistics::{
    ModelIdentity, ObservedRun, StatisticsFacts, StatisticsPlan, StatisticsReport,
    StatisticsRequest, StatisticsSummary, observe_statistics, plan_statistics,
};
pub(crate) use streams::embedded;
