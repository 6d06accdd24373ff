//! Weight quantizers on plain matrices, codes and scales chosen for the least error; and smoothing,
//! which makes inputs easier to quantize and leaves outputs as they are.
//!
//! A [`Quantizer`] takes a band of a matrix and a scheme and returns codes on a grid. A [`Solver`]
//! does so for whole matrices, after what their inputs showed. This crate never knows the name of a
//! tensor, a model family, or how codes are stored.

#![forbid(unsafe_code)]

mod band;
mod correction;
mod descent;
mod extent;
mod gptq;
mod lanes;
mod moments;
mod nearest;
mod normalized;
mod output_error;
mod quantizer;
mod rounding;
mod search;
mod settings;
mod smooth;
mod solver;
mod stored;
mod sums;
mod target;
mod trials;
mod weighted;
mod work;

pub use moments::Moments;
pub use nearest::Nearest;
pub use output_error::{
    OutputError, Outputs, output_error, output_error_bytes, squared_outputs, squared_outputs_bytes,
};
pub use quantizer::{QuantError, Quantizer};
pub use rounding::Rounding;
pub use search::Search;
pub use settings::{Correction, Descent, Settings};
pub use smooth::{
    add_column_squares, divide_gains, divide_rows, least_noise_scales, multiply_columns,
    raise_column_maxima, smoothing_scales,
};
pub use solver::{Solver, SolverError};
pub use stored::least_scale;
pub use weighted::WeightedSearch;
pub use work::Rounded;
