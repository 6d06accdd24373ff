//! Matrix products and the vector arithmetic around them: kernels chosen at run time, each with a
//! slow twin.
//!
//! This crate owns GEMM in f32 and in bf16 with f32 accumulation, elementary functions on slices,
//! symmetric matrices with what their Cholesky factor solves, in f64 and, where few digits are enough,
//! in f32, and products in either. It is the only one that may hold `unsafe`; what is no arithmetic here
//! is a call to the allocator, and reading memory to see how fast that is. It never knows what a matrix means.

mod buffer;
mod choice;
mod codes;
mod cross;
mod dense;
mod driver;
mod factor;
mod fill;
mod freed;
mod gemm;
mod kernels;
mod ordered;
mod packed;
mod piece;
mod real;
mod spread;
mod stream;
mod strided;
mod symmetric;
#[cfg(test)]
mod tests;
mod tiles;
pub mod vector;
pub mod wide;

pub use choice::{KernelChoice, Precision, Unavailable, Unknown};
pub use codes::{CodeFormat, CodedInputs, InputCodes};
pub use cross::Cross;
pub use dense::kept_bytes;
pub use factor::{Factor, Lower};
pub use freed::{give_back_freed, keep_nothing_freed};
pub use gemm::{Gemm, Inputs};
pub use packed::{Band, Packed};
pub use real::Real;
pub use stream::Stream;
pub use strided::Strided;
pub use symmetric::{Damping, NotPositiveDefinite, Symmetric, Undamped};
