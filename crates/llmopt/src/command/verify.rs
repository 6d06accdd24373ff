//! `llmopt verify`: what is wrong with an artifact, a line per fault.

use crate::current::Input;
use crate::failure::Failure;
use crate::flags::Verify;
use crate::print::{self, Table};
use crate::progress::Progress;
use crate::units;
use crate::{request, signal};
use llmopt_pipeline::{Verification, VerifyOptions};
use std::fmt::Write;
use std::sync::Arc;

pub(super) fn run(flags: &Verify) -> Result<(), Failure> {
    let voice = flags.voice.voice(flags.quiet.quiet);
    let options = VerifyOptions {
        runtimes: request::runtimes(&flags.runtime)?,
        against: flags.against.clone(),
        quick: flags.quick,
    };
    let input = Input::of(flags.artifact.as_deref(), voice)?;
    let progress = Arc::new(Progress::new(voice));
    signal::watch(&progress, "stopping");
    let found = llmopt_pipeline::verify(&input.path, &options, &*progress, &signal::CANCEL)?;
    if voice.json {
        print::json(&found)?;
    } else if !voice.quiet || !found.faults.is_empty() {
        print::data(&told(&found))?;
    }
    match found.faults.len() {
        0 => Ok(()),
        faults => Err(Failure::Faults { artifact: input.path.display().to_string(), faults }),
    }
}

/// The faults, or what was checked when there are none.
fn told(found: &Verification) -> String {
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
