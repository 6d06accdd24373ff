//! What every run is given, what it tells, and how it fails.
//!
//! Memory, threads and room on the disk; workers that take tasks in order; random numbers that depend on a
//! seed alone; events, and the wish to stop; one error for all that reads and writes models. It never
//! knows how a model is built, an algorithm, a plan or the terminal.

#![forbid(unsafe_code)]

mod disk;
mod error;
mod events;
mod fault;
mod memory;
mod nonfinite;
pub mod pool;
mod random;
mod resources;
mod threads;

pub use disk::{Disk, check_room};
pub use error::{Blame, Error};
pub use events::{Cancel, Events, Silent};
pub use fault::Fault;
pub use memory::{Memory, base_bytes, known_bytes};
pub use nonfinite::NonFinite;

pub use random::{GOLDEN, SplitMix64};
pub use resources::{Resources, available_memory};
pub use threads::on_threads;
