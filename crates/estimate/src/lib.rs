//! How long a run will take: its operations counted stage by stage, over this machine's speed.
//!
//! What is counted follows from shapes alone ([`llmopt_sweep::Work`]). What an operation costs is typical of a
//! server, until a run is long enough to be worth measuring for ([`Speed`]). It never knows a plan, nor what a
//! clock has shown since the run began: that is the affair of who shows progress.

#![forbid(unsafe_code)]

mod measure;
mod pieces;
mod time;

pub use measure::Speed;
pub use pieces::{choosing, copied, looked_at, read_back, refitting};
pub use time::{StageEstimate, Stages, TimeEstimate, Windows};
