//! What a matrix can do without: importance scores, keep-sets, and refits of what is left.
//!
//! A [`Regression`] asks for the outputs that a matrix should have. It says which of the matrix's
//! inputs to keep, by optimal brain surgeon ([`Regression::select`]), and what weights they should
//! have then ([`Regression::refit`]). A [`Tangent`] moves the units of a gated layer to first order
//! ([`Descent`]). [`magnitude()`] and [`Fluctuation`] are the baselines. This crate
//! never knows quantization, formats, files, or the name of a tensor.

#![forbid(unsafe_code)]

mod centred;
mod descent;
mod elimination;
mod fluctuation;
mod gated;
mod gather;
mod magnitude;
mod metric;
mod moments;
mod pivot;
mod price;
mod refit;
mod regression;
mod selection;
mod swaps;
mod swept;
mod tableau;
mod tangent;

pub use descent::Descent;
pub use fluctuation::Fluctuation;
pub use gated::{Gated, Ready, Slopes};
pub use magnitude::{Side, magnitude};
pub use moments::{Constant, Moments};
pub use refit::Refit;
pub use regression::{Regression, RegressionError};
pub use selection::{Search, Selection, Step};
pub use tangent::Tangent;
