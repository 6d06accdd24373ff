//! Statistics as files: what a model's sites have seen, observed once and used by many runs.
//!
//! A file holds, for each input site of the blocks, the sums that [`llmopt_calib`] keeps, as tensors
//! named after the first weight that reads the site. Its metadata say of which model they are, on what
//! data it was observed, which weights read each site, and the hash of every tensor.

mod described;
mod file;
mod identity;
mod observe;
mod plan;
mod run;
mod saved;
mod writer;

pub use described::ObservedRun;
pub(super) use file::StatisticsFile;
pub use identity::ModelIdentity;
pub use plan::{StatisticsPlan, StatisticsRequest, StatisticsSummary, plan_statistics};
pub use run::{StatisticsReport, observe_statistics};
pub use saved::StatisticsFacts;
pub(crate) use saved::{Saved, resolved};
