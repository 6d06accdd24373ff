//! `llmopt completions`: scripts for shells, from the same definition as the help.

use crate::failure::Failure;
use crate::flags::Completions;
use crate::print;

pub(super) fn run(flags: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut crate::command(), "llmopt", &mut script);
    print::data(&String::from_utf8_lossy(&script))
}
