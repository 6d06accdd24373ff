//! The `llmopt` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    llmopt::main(std::env::args_os())
}
