//! Several sizes of a model from one set of statistics, judged against each other in one reading sweep.

pub(crate) mod judges;
mod plan;
mod report;
mod run;

pub use judges::JudgedText;
pub use plan::{LadderPlan, LadderRequest, LadderSummary, PlannedRung, plan_ladder};
pub use report::{LadderReport, Rung};
pub use run::ladder;
