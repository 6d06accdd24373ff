//! Mixed precision: a size or a quality is asked for, and each unit of the model gets the scheme it needs.
//!
//! A **unit** is what runtimes give one scheme: a fused group, or all experts. Every unit is solved for with every
//! scheme that may be chosen, on the same sums of the original's inputs, which gives the error of its outputs. What
//! such an error costs the whole model is measured: the original with one unit changed, for each unit. An
//! allocation ([`allocate`]) minimizes the sum of these costs under a budget of bytes. The sum is a proxy: what
//! counts is the composed model, measured on windows that nothing was fitted to, beside uniform schemes. A uniform
//! scheme that no allocation beats beyond the interval of their difference is taken.

mod allocate;
mod candidates;
mod estimate;
mod finish;
mod plan;
mod probe;
mod report;
mod request;
mod run;
mod search;
mod size;
mod table;
mod units;

pub(crate) use plan::mixed_output;
pub use plan::{MixedPlan, MixedSummary, PlannedChoice, plan_mixed};
pub use report::{MixedCandidate, MixedReport, MixedUnit, UnitChoice};
pub use request::{Goal, MixedRecipe, MixedRequest};
pub use run::quantize_mixed;
