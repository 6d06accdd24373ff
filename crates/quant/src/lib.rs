//! Weight quantizers on plain matrices: codes and scales chosen for the least error.
//!
//! A [`Quantizer`] takes a band of a matrix and a scheme and returns codes on a grid. This crate
//! never knows the name of a tensor, a model family, or how codes are stored.

#![forbid(unsafe_code)]

mod band;
mod extent;
mod nearest;
mod normalized;
mod quantizer;
mod search;
mod stored;
mod sums;
mod target;
mod trials;

pub use nearest::Nearest;
pub use quantizer::{QuantError, Quantizer};
pub use search::Search;
