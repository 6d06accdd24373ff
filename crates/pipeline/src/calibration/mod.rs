//! Calibration: what a model computes on data, and what follows from it for its weights.

mod data;
mod gumbel;
mod own;
mod source;

pub(crate) use data::CalibrationSet;
pub use data::{CalibrationFacts, CalibrationRequest, SourceFacts};
pub(crate) use own::{Drawing, Own};
pub use source::{CalibrationSource, SourceError};
