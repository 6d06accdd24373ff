//! The binary, run as its users run it: in a fresh directory, judged by exit code, output and files.

#![expect(clippy::disallowed_methods, reason = "tests lay out and read back files themselves")]
#![expect(clippy::print_stdout, reason = "a check that is skipped says so")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[macro_use]
mod rows;

mod bad_input;
mod bench;
mod calibrated;
mod card;
mod current;
mod data;
mod determinism;
mod diff;
mod dir;
mod doubles;
mod eval;
mod eval_bad_input;
mod families;
mod flags;
mod folders;
mod fp8_source;
mod gates;
mod generate;
mod inspect;
mod ladder;
mod memory;
mod mixed;
mod nonfinite;
mod notes;
mod provenance;
mod prune;
mod quantize;
mod requests;
mod resume;
mod run;
mod run_faults;
mod smooth;
mod speculation;
mod statistics;
mod synthetic;
mod too_small;
mod verify;
