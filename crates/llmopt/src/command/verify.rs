//! `llmopt verify`: what is wrong with an artifact, a line per fault.

use crate::current::Input;
use crate::failure::Failure;
use crate::flags::Verify;
use crate::print::{self, Table};
use crate::progress::Progress;
use crate::units;
use crate::{request, signal};
use llmopt_pipeline::{Fault, Verification, VerifyOptions};
use std::fmt::Write;
use std::path::Path;

pub(super) fn run(flags: &Verify) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    let options = VerifyOptions {
        runtimes: request::runtimes(&flags.runtime)?,
        against: flags.against.clone(),
        quick: flags.quick,
    };
    let input = Input::of(flags.artifact.as_deref(), console)?;
    let progress = Progress::begin(console, None);
    signal::watch(&progress, "stopping");
    let found = llmopt_pipeline::verify(&input.path, &options, &*progress, &signal::CANCEL)?;
    if console.json {
        print::json(&found)?;
    } else if !console.quiet || !found.faults.is_empty() {
        match another_model(&found, flags.against.as_deref()) {
            Some(sentence) => print::data(&format!("{sentence}\n"))?,
            None => print::data(&render(&found))?,
        }
    }
    match found.faults.len() {
        0 => Ok(()),
        faults => Err(Failure::Faults { artifact: input.path.display().to_string(), faults }),
    }
}

/// One sentence in place of a fault for nearly every tensor: they say that it is another model.
fn another_model(found: &Verification, against: Option<&Path>) -> Option<String> {
    let checked = found.checked.iter().find(|checked| checked.what == AGAINST)?.count;
    let differs = |fault: &&Fault| ["changed", "error", "lost", "shape"].contains(&fault.code);
    let differing = found.faults.iter().filter(differs).count() as u64;
    (2 * differing > checked).then(|| {
        format!(
            "against  `{}` is not the model that this artifact was made from: {} of its {} tensors are \
             not in the artifact, or differ from what is there; `--json` lists them",
            against.unwrap_or(Path::new("")).display(),
            units::count(differing),
            units::count(checked)
        )
    })
}

/// What `verify` calls the tensors of `--against`.
const AGAINST: &str = "tensors held against the model";

/// The faults, or what was checked when there are none.
fn render(found: &Verification) -> String {
    let mut text = String::new();
    for fault in &found.faults {
        let _ = writeln!(text, "{}  {}: {}", fault.code, fault.subject, fault.message);
    }
    if found.faults.is_empty() {
        let mut table = Table::new(&["sound", ">checked"]);
        for checked in &found.checked {
            table.row([checked.what.to_owned(), units::count(checked.count)]);
        }
        let _ = write!(text, "{table}");
    }
    text
}
