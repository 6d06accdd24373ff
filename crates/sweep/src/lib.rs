//! Models on batches of tokens, block after block: what is carried, where it rests, and what is looked at.
//!
//! A [`Reading`] sweep takes several models side by side through memory; a [`Runner`] takes one through a
//! phase. Work is counted by kind, so that time can be foretold and progress told. It never knows what
//! is judged or rewritten.

#![forbid(unsafe_code)]

mod alone;
mod batches;
mod budget;
pub mod count;
mod head;
mod meter;
mod positions;
mod reading;
mod run;
mod runner;
mod store;
mod stream;
mod work;

pub use alone::{alone_bytes, alone_tokens, alone_work};
pub use batches::{Batches, Position, Sequence, judging};
pub use budget::{ReadingMemory, phase_bytes, planned, widest_band};
pub use meter::Meter;
pub use positions::{begun, by_sequence};
pub use reading::{Judge, Reading};
pub use run::Run;
pub use runner::Runner;
pub use store::{Store, carried_by, carried_width, embedded};
pub use work::{Group, Kind, Rates, Work};
