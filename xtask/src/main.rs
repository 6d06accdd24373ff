//! The project's habits, one word each: `cargo xtask WORD`.

#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "habits read and write the repository, and look where cargo and the caches are"
)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is for the terminal")]

mod bench;
mod ci;
mod families;
mod fuzz;
mod generate;
mod interop;
mod options;
mod page;
mod random;
mod repository;
mod slowest;
mod tidy;

use anyhow::{Result, bail};
use options::Options;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask WORD [options]

  ci [--without-tests]      format, lints, tests, documentation, tidy, gen --check, a round of fuzz
  tidy [--cycles]           crate edges and sizes, cycles of files, module docs, paths and links in
                            the docs, habits; or all cycles, and what would break them
  slowest                   the output of `cargo test`, passed through a pipe, and the ten slowest tests
  page FILE..               the shell blocks of a page, run as one script
  gen [--check]             what is generated from the code: docs, tables, testdata/families
  fuzz --seconds N          mutated headers, indexes, configs against their parsers
       [--seed N] [--target NAME]
  bench [WHAT..] [--dir D]  our side of docs/benchmarks.md: speed, memory, inspect, start,
        [--runs N] [--python P]  gemm (beside PyTorch where P has it)
  interop [--env DIR]       artifacts of every scheme and family, loaded by Transformers
  interop --vllm            the same by vLLM on a CPU, whose environment takes some 6 GB
          [--only TEXT] [--program P: in place of a release build of this tree]
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let word = arguments.next().unwrap_or_default();
    let options = Options::new(arguments);
    match word.as_str() {
        "ci" => ci::run(options),
        "tidy" => tidy::run(options),
        "gen" => generate::run(options),
        "fuzz" => fuzz::run(options),
        "bench" => bench::run(options),
        "interop" => interop::run(options),
        "page" => page::run(options),
        "slowest" => slowest::run(options),
        "" | "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("`{other}` is no word of xtask\n\n{HELP}"),
    }
}
