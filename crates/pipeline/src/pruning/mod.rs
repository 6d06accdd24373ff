//! Structured pruning: which units go, where, and what the matrices that read them become.
//!
//! The artifact is laid out before a weight is read: its shape decides every name, type and offset. So
//! it is a model of its own from the start, and what was pruned is run as a loader will find it.

pub(crate) mod budget;
pub(crate) mod choice;
pub(crate) mod cut;
pub(crate) mod depth;
pub(crate) mod estimate;
pub(crate) mod find_gated;
pub(crate) mod gated;
pub(crate) mod group;
pub(crate) mod identity;
pub(crate) mod layout;
pub(crate) mod mix;
pub(crate) mod mixes;
pub(crate) mod moving;
pub(crate) mod observe;
pub(crate) mod plan;
pub(crate) mod recipe;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod shape;
pub(crate) mod stage;
#[cfg(test)]
mod tests;

pub use budget::PruneMemory;
pub use depth::{FoundLayers, TriedLayers};
pub use mix::{ChoiceSummary, JudgedMix, LeftOut, Mix, PruneDecision};
pub use mixes::plan_prune;
pub use plan::{PrunePlan, PruneSummary};
pub use recipe::{PruneMethod, PruneRecipe, PruneRequest, UnknownPruneMethod};
pub use report::{PruneReport, PrunedTensor, RemovedTensor};
pub use run::prune;
