//! The commands, one module each: flags in, a request to the library, its answer printed.

mod bench;
mod calibrate;
mod card;
mod completions;
mod diff;
mod eval;
mod generate;
mod inspect;
mod ladder;
mod prune;
mod quantize;
mod recipe;
mod run;
mod verify;

use crate::failure::Failure;
use crate::flags::Command;

/// Does what the command line asks for.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Inspect(flags) => inspect::run(&flags),
        Command::Quantize(flags) => quantize::run(&flags),
        Command::Prune(flags) => prune::run(&flags),
        Command::Run(flags) => run::run(&flags),
        Command::Recipe(flags) => recipe::run(&flags),
        Command::Calibrate(flags) => calibrate::run(&flags),
        Command::Ladder(flags) => ladder::run(&flags),
        Command::Eval(flags) => eval::run(&flags),
        Command::Generate(flags) => generate::run(&flags),
        Command::Bench(flags) => bench::run(&flags),
        Command::Verify(flags) => verify::run(&flags),
        Command::Card(flags) => card::run(&flags),
        Command::Diff(flags) => diff::run(&flags),
        Command::Completions(flags) => completions::run(&flags),
    }
}
