//! What a tensor is: its element type, its shape, how its bytes become `f32` and back, and which
//! part of it is a matrix.
//!
//! This crate owns dtypes, [`TensorMeta`] and [`View`]s. It never opens a file, never knows the name
//! of a layer, and never asks why a value is quantized.

#![forbid(unsafe_code)]

mod convert;
mod dtype;
mod finite;
mod meta;
mod round;
pub mod simd;
mod view;

pub use convert::{Unsupported, decode, encode, rounded};
pub use dtype::Dtype;
pub use finite::{NotFinite, first_not_finite};
pub use meta::{ShapeError, TensorMeta};
pub use round::{
    e4m3_from_f32, e4m3_to_f32, i8_from_integer, i16_nearest, round_half_even, rounded_to_e4m3,
    rounded_to_e4m3_without_negative_zero,
};
pub use view::{View, ViewError};
