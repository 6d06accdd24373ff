//! What an artifact lost: perplexity, divergence from a reference, agreement, flips, and gates.
//!
//! This crate owns the arithmetic from logits to numbers with confidence intervals. It never knows
//! how an artifact was made, or what computed the logits.

#![forbid(unsafe_code)]

mod block_error;
mod bootstrap;
mod choices;
mod comparison;
mod exponential;
mod extreme;
mod gate;
mod histogram;
mod pair;
mod paired;
mod perplexity;
mod quantile;
mod single;

pub use block_error::BlockError;
pub use bootstrap::Estimate;
pub use choices::{Accuracy, Choice, ChoiceComparison, Question, accuracy, compare_choices};
pub use comparison::{Comparison, Divergence, compare};
pub use gate::{
    Gate, GateError, Metric, Needs, OnUnsure, Outcome, UnknownOnUnsure, Verdict, is_part_name,
};
pub use histogram::Histogram;
pub use pair::{Pair, PairLoss};
pub use paired::WindowKlds;
pub use perplexity::perplexity;
pub use single::{Single, TokenLoss};
