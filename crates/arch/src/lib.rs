//! Model families as data: what each tensor of a checkpoint is for.
//!
//! A family is a JSON file in `families/`: names, roles, shapes as expressions over sizes in the
//! config, the groups that runtimes merge, the forward pass. [`Model::bind`] holds a config and a list
//! of tensors against it; checkpoints of unknown families are read by names and shapes.
//! [`Model::program`] says how tokens become logits, [`Model::prunable`] along which axes a model can
//! become smaller, [`Program::smoothing`] what a block can be divided and multiplied by without any
//! other outputs. This crate never sees a byte of a tensor, never
//! opens a file, and knows no algorithm.

#![forbid(unsafe_code)]

pub mod axes;
mod bind;
mod by_name;
mod config;
mod error;
mod expression;
mod family;
mod liveness;
mod model;
mod names;
pub mod program;
mod resolve;
mod scales;
mod sizes;
pub mod smoothing;
mod stacked;

pub use error::BindError;
pub use family::Family;
pub use liveness::fill_carried;
pub use model::{BoundTensor, LinearWeight, Model};
pub use names::Role;
pub use program::Program;
pub use scales::{BlockScale, scaled_weight};
pub use stacked::Stack;
