//! Whether an artifact is what it says it is, and whether its loaders will agree.
//!
//! Names, headers and config come first, each question in a module of its own; then the data, band by
//! band. Everything in an artifact is a stranger's, the report beside it included. What a run meant to write
//! is given as a list: plans are not known here.

#![forbid(unsafe_code)]

mod against;
mod data;
mod examine;
mod expected;
mod files;
mod groups;
mod ignored;
mod lineage;
mod manifest;
mod pruned;
mod record;
mod recorded_files;
mod rules;
mod runs;
mod smoothed;
mod stacked;
mod tied;
mod unknown;

pub use examine::{Verification, VerifyOptions, before_publishing, pruned, verify};
pub use expected::{Becomes, Expected, ExpectedTensor};
pub use groups::Groups;
pub use llmopt_model::Checked;
pub use manifest::{Manifest, manifest};
pub use pruned::{MovedFacts, PrunedUnits, StepFacts};
