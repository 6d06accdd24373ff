//! What the inputs of a model's matrices show.
//!
//! This crate finds the input [sites](InputSite) of a block, cuts its program down to what is
//! [needed to watch](Watch) them, and keeps the sums over tokens that quantizers and pruners live on:
//! [`Observation`]s. It never knows who will use them, or where weights and tokens came from.

#![forbid(unsafe_code)]

mod observation;
mod site;
mod statistics;
mod watch;

pub use observation::{Before, Extent, Needs, Observation};
pub use site::{InputSite, Overwritten, adds_to_hidden, input_sites};
pub use statistics::{StatisticsError, Sum};
pub use watch::{Watch, watches, whole};
