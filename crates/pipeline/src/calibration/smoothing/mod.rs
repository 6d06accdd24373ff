//! Smoothing: scales of channels, found on the original model before anything is rewritten.
//!
//! What can be smoothed follows from the model's program and from what is quantized, and is planned. Scales
//! are a decision: one reading sweep takes it, and all that is read afterwards is the smoothed model's.

mod estimate;
mod memory;
mod observe;
mod plan;
mod recipe;
mod report;

pub(crate) use memory::beside;
pub(crate) use plan::PlannedSmoothing;
pub use plan::UnsmoothedInputs;
pub use recipe::Smooth;
pub use report::{SmoothingReport, SmoothingSummary};
