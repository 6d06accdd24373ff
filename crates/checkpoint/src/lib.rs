//! Model folders on disk: reading them without trust, and writing them so that nothing half-written
//! looks whole.
//!
//! This crate owns safetensors headers and shards, the index, `config.json` as an ordered document,
//! side files, the staged output with its journal, disk space and hashes. Headers come first; data
//! moves by positioned reads and writes only. It never knows what a tensor is for, which family a
//! model belongs to, or what a scheme is.

#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "this is the crate that gives errors their path")]

mod config;
mod disk;
mod error;
mod file;
#[cfg(test)]
mod fixtures;
mod folder;
mod growing;
mod hash;
mod header;
mod index;
mod journal;
mod json;
mod lock;
mod lone;
mod output;
mod output_path;
mod pending;
mod raw;
mod report;
mod same;
mod scratch;
mod shard;
mod side;
mod source;
mod temporary;
mod work_folder;

pub use config::{Config, ConfigError};
pub use disk::free_disk;
pub use error::{Blame, DiskLimit, Error, ModelError, RequestError};
pub use file::{append_file, read_bytes, read_text, write_file};
pub use folder::{all_files, visible_names};
pub use growing::GrowingFile;
pub use hash::{Sha256, sha256, sha256_file};
pub use header::{Header, HeaderEntry, HeaderError};
pub use index::{Index, IndexError, IndexFacts};
pub use journal::Journal;
pub use json::parse_json;
pub use lone::LoneFile;
pub use output::{OutFile, Output, OutputOptions};
pub use output_path::is_inside;
pub use pending::PendingFile;
pub use report::{EVALUATION_NAME, REPORT_NAME, report_name_beside};
pub use same::are_equal;
pub use scratch::Scratch;
pub use shard::Shard;
pub use side::SideFile;
pub use source::{Location, Source};
pub use temporary::TemporaryFolder;
pub use work_folder::keep_in_folder;
