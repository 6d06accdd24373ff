//! Matrix products and the vector arithmetic around them: kernels chosen at run time, each with a
//! slow twin.
//!
//! This crate owns GEMM in f32 and in bf16 with f32 accumulation, and elementary functions on
//! slices. It is the only one that may hold `unsafe`. It never knows what a matrix means.

mod buffer;
mod choice;
mod driver;
mod fill;
mod gemm;
mod kernels;
mod packed;
mod small;
#[cfg(test)]
mod tests;
pub mod vector;

pub use choice::{KernelChoice, Precision, Unavailable, Unknown};
pub use gemm::Gemm;
pub use packed::{Band, Packed};
pub use small::{Strided, StridedMut, product, product_transposed};
