//! Models as their loaders would open them: any folder or file, dense or quantized.
//!
//! What is wrong with names, shapes and config is said here, and weights are read by name, decoded by the
//! codec that stored them; a smoothed model's through scales that it is given. It never knows plans, journals or algorithms.

#![forbid(unsafe_code)]

mod artifact;
mod binding;
mod bound;
mod checkpoint;
mod findings;
mod hashed;
mod in_order;
mod kind;
mod matrix;
mod modules;
pub mod nonfinite;
pub mod notes;
mod opened;
mod quantized;
pub mod report_file;
mod same_files;
mod shape;
mod slice;
mod smoothing;
pub mod tied;
mod variant;
mod weights;
mod wrapped;

pub use artifact::{Artifact, Module, Parts, Quantization, WEIGHT, part_of};
pub use binding::check as bind_artifact;
pub use bound::{QUANTIZATION_CONFIG, bound, quantization_method, refuse_quantized};
pub use checkpoint::Checkpoint;
pub use findings::{Checked, Findings};
pub use hashed::hash_finite;
pub use in_order::InOrder;
pub use kind::{is_linear, kind_label, kind_pattern};
pub use matrix::Matrix;
pub use modules::{Faulty, Matrices, check as check_modules};
pub use opened::{Opened, OpenedMatrix, opened, opened_soundly};
pub use same_files::model_state;
pub use slice::{refuse_not_finite, sliced};
pub use smoothing::{ScaledPair, Smoothing};
pub use variant::{Overlay, ROW_STEP, Variant, band_bytes, band_rows, source_name};
pub use weights::Rows;
