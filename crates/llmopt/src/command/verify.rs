//! `llmopt verify`: what is wrong with an artifact, a line per fault.

use crate::current::Input;
use crate::failure::Failure;
use crate::flags::Verify;
use crate::print::{self, Table};
use crate::progress::Progress;
use crate::units;
use crate::{report, request, signal};
use llmopt_pipeline::{
    Events, Fault, RebuildRequest, Rebuilt, RebuiltFile, Resources, Verification, VerifyOptions,
};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

pub(super) fn run(flags: &Verify) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    let options = VerifyOptions {
        runtimes: request::runtimes(&flags.runtime)?,
        against: flags.against.clone(),
        quick: flags.quick,
    };
    if let Some(file) = &flags.manifest {
        request::folder_of("--manifest", file)?;
    }
    let input = Input::of(flags.artifact.as_deref(), console)?;
    let progress = Progress::begin(console, None);
    signal::watch(&progress, "stopping");
    let found = llmopt_pipeline::verify(&input.path, &options, &*progress, &signal::CANCEL)?;
    let rebuilt = rebuilt(flags, &input.path, &*progress);
    if let Some(file) = flags.manifest.as_ref().filter(|_| found.faults.is_empty()) {
        write_manifest(&input.path, file, &*progress)?;
    }
    drop(progress);
    if console.json {
        let rebuilt = rebuilt.as_ref().ok().and_then(Option::as_ref);
        print::json(&Told { found: &found, rebuilt })?;
    } else if !console.quiet || !found.faults.is_empty() {
        match another_model(&found, flags.against.as_deref()) {
            Some(sentence) => print::data(&format!("{sentence}\n"))?,
            None => print::data(&render(&found))?,
        }
    }
    let rebuilt = rebuilt?;
    let differing = rebuilt.as_ref().map_or(0, Rebuilt::differing);
    if let Some(rebuilt) = rebuilt.filter(|_| !console.json && (!console.quiet || differing > 0)) {
        print::data(&made_again(&rebuilt))?;
    }
    let artifact = input.path.display().to_string();
    match (found.faults.len(), differing) {
        (0, 0) => Ok(()),
        (0, files) => Err(Failure::Differs { artifact, files }),
        (faults, _) => Err(Failure::Faults { artifact, faults }),
    }
}

/// What is told to programs.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    found: &'a Verification,
    /// What came of `--rebuild`.
    #[serde(skip_serializing_if = "Option::is_none")]
    rebuilt: Option<&'a Rebuilt>,
}

/// Writes the manifest of a sound artifact.
fn write_manifest(artifact: &Path, file: &Path, events: &dyn Events) -> Result<(), Failure> {
    let Resources { threads, .. } = Resources::default();
    let shown = (events, &signal::CANCEL);
    let manifest = llmopt_pipeline::manifest(artifact, file, threads, shown)?;
    report::publish(report::pending(file)?, &print::document(&manifest)?)
}

/// What comes of `--rebuild`, if it is asked for.
fn rebuilt(
    flags: &Verify,
    artifact: &Path,
    events: &dyn Events,
) -> Result<Option<Rebuilt>, Failure> {
    let Some(model) = flags.against.as_ref().filter(|_| flags.rebuild) else { return Ok(None) };
    let request = RebuildRequest {
        artifact: artifact.to_owned(),
        model: model.clone(),
        data: flags.data.clone(),
    };
    let resources = request::resources(flags.memory, flags.threads);
    Ok(Some(llmopt_pipeline::rebuild(&request, resources, events, &signal::CANCEL)?))
}

/// What was made once more, and what differs.
fn made_again(rebuilt: &Rebuilt) -> String {
    let same = rebuilt.files.len() - rebuilt.differing();
    let mut facts = vec![
        ("rebuilt", rebuilt.commands.join(", then ")),
        ("same", format!("{}, byte for byte", units::counted(same, "file"))),
    ];
    for file in rebuilt.files.iter().filter(|file| !file.same) {
        let why = file.why.as_deref().unwrap_or_default();
        facts.push(("differs", format!("{}: {why}{}", file.name, tensors(file))));
    }
    if !rebuilt.not_rebuilt.is_empty() {
        let names = rebuilt.not_rebuilt.join(", ");
        facts.push(("not rebuilt", format!("{names}: no command of the record makes it")));
    }
    facts.extend(rebuilt.notes.iter().map(|note| ("note", note.clone())));
    print::facts(&facts)
}

/// The first tensors that differ.
fn tensors(file: &RebuiltFile) -> String {
    if file.tensors.is_empty() {
        return String::new();
    }
    let shown: Vec<&str> = file.tensors.iter().take(SHOWN).map(String::as_str).collect();
    let more = match file.tensors.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {} more", units::count(more as u64)),
    };
    let count = units::counted(file.tensors.len(), "tensor");
    format!("; {count}: {}{more}", shown.join(", "))
}

/// So many tensors of a file are named.
const SHOWN: usize = 8;

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
