//! The values of quantization: what a scheme is, which value a code stands for, and a matrix of codes.
//!
//! [`Scheme`] says what is asked for, [`Grid`] what one matrix got, [`QuantizedMatrix`] is the neutral
//! middle that algorithms produce, codecs store and evaluation reads. This crate never knows how
//! codes were chosen or how they are stored.

#![forbid(unsafe_code)]

mod grid;
mod levels;
mod matrix;
mod scheme;
mod tiles;

pub use grid::Grid;
pub use levels::Levels;
pub use matrix::{QuantizedMatrix, SquaredError};
pub use scheme::{Activations, Granularity, Numeric, Scheme, UnknownPreset};
pub use tiles::{TileError, Tiles};
