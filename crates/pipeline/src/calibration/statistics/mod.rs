//! Statistics as files: what a model's sites have seen, observed once and used by many runs.
//!
//! A file holds, for each input site of the blocks, the sums that [`llmopt_calib`] keeps, as tensors
//! named after the first weight that reads the site. Its metadata say of which model they are, on what
//! data it was observed, which weights read each site, and the hash of every tensor.

pub(crate) mod budget;
pub(crate) mod described;
pub(crate) mod file;
pub(crate) mod identity;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod saved;
pub(crate) mod writer;

pub use described::ObservedRun;
pub use identity::ModelIdentity;
pub use plan::{StatisticsPlan, StatisticsRequest, StatisticsSummary, plan_statistics};
pub(crate) use run::observed_to;
pub use run::{StatisticsReport, observe_statistics};
