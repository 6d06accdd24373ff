//! What the inputs of a model's matrices show.
//!
//! This crate finds the input [sites](InputSite) of a block, cuts its program there into
//! [segments](Segment), and keeps the sums over tokens that quantizers and pruners live on:
//! [`Observation`]s. It never knows who will use them, or where weights and tokens came from.

#![forbid(unsafe_code)]

mod observation;
mod segment;
mod site;
mod statistics;

pub use observation::{Before, Extent, Needs, Observation};
pub use segment::{Segment, segments};
pub use site::{InputSite, Overwritten, adds_to_hidden, input_sites};
pub use statistics::{StatisticsError, Sum};
