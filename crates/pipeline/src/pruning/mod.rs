//! Structured pruning: which units go, where, and what the matrices that read them become.
//!
//! The artifact is laid out before a weight is read: its shape decides every name, type and offset. So
//! it is a model of its own from the start, and what was pruned is run as a loader will find it.

mod budget;
mod choice;
mod cut;
mod depth;
mod estimate;
mod journal;
mod layout;
mod mix;
mod moving;
mod observe;
mod plan;
mod read_back;
mod recipe;
mod report;
mod run;
mod runs;
mod shape;
mod site;
mod sweep;
mod target;
#[cfg(test)]
mod tests;
mod write;

pub use budget::PruneMemory;
pub use depth::{FoundLayers, TriedLayers};
pub use mix::{ChoiceSummary, JudgedMix, LeftOut, Mix, PruneDecision};
pub use plan::{PrunePlan, PruneSummary, plan_prune};
pub use recipe::{PruneMethod, PruneRecipe, PruneRequest, UnknownPruneMethod};
pub use report::{PruneReport, PrunedTensor, RemovedTensor};
pub(crate) use run::led;
pub use run::prune;
pub use target::{MovedFacts, PrunedUnits, StepFacts};
pub(crate) use write::sliced;
