//! Running a block's program on batches of hidden states.
//!
//! [`Engine::run`] takes one phase of a [`Program`](llmopt_arch::program::Program), its [`Weights`]
//! and the [`Taps`] of a [`Batch`]. This crate owns the operations that a program names, and the
//! [`State`] that a sequence keeps between calls. It never knows where weights came from or what is
//! done with the hidden states.

#![forbid(unsafe_code)]

mod batch;
mod bind;
mod buffers;
mod cache;
mod check;
mod chunk;
mod cost;
mod engine;
mod error;
mod logits;
mod matrix;
mod ops;
mod outline;
mod pool;
mod segment;
mod state;
mod taps;
mod weights;

pub use batch::{Batch, Sequence};
pub use engine::Engine;
pub use error::ForwardError;
pub use matrix::Matrix;
pub use state::State;
pub use taps::Taps;
pub use weights::{Linear, Weights};
