//! The `llmopt` command.

use llmopt_pipeline::{LargePages, keep_little_freed};
use std::process::ExitCode;

/// Vectors of megabytes come and go with every part of a model.
#[global_allocator]
static MEMORY: LargePages = LargePages;

fn main() -> ExitCode {
    keep_little_freed();
    llmopt::main(std::env::args_os())
}
