//! `llmopt quantize` with a size or a quality to meet: the plan, or what each unit got and why.

use super::{STOPPING, closing};
use crate::current::Input;
use crate::failure::Failure;
use crate::flags::Quantize;
use crate::print::{self, Table};
use crate::progress::Progress;
use crate::timing::{RequestedAmount, Timing};
use crate::{report, request, signal, units};
use llmopt_pipeline::{
    Error, Goal, MixedCandidate, MixedPlan, MixedRecipe, MixedReport, MixedRequest, MixedSummary,
    MixedUnit, Report,
};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

pub(super) fn run(flags: &Quantize, recipe: MixedRecipe) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    request::report(flags.report.as_deref())?;
    let input = Input::of(flags.model.as_deref(), console)?;
    input.announce_output(flags.output.as_deref(), console);
    let resources = request::resources(flags.memory, flags.threads);
    let target = request::target(flags, input.output_folder);
    let requested = MixedRequest { model: input.path, target, recipe };
    let plan = llmopt_pipeline::plan_mixed(&requested, resources)?;
    let none = RequestedAmount::default();
    let timing = Timing::new(plan.estimate()?, none, None, |_| Err(Error::Interrupted))?;
    if flags.dry_run {
        let summary = plan.summary()?;
        return match console.json {
            true => print::json(&timing.document(&summary)?),
            false => print::data(&planned(&summary, Some(&timing))),
        };
    }
    let file = flags.report.as_deref().map(report::pending).transpose()?;
    request::near_bound(plan.predicted_peak(), resources);
    let progress = Progress::begin(console, Some(&timing));
    signal::watch(&progress, STOPPING);
    let report = llmopt_pipeline::quantize_mixed(&plan, &*progress, &signal::CANCEL)?;
    drop(progress);
    if console.json {
        print::json(&report)?;
    } else if !console.quiet {
        print::say(closed(plan.output(), &report).trim_end());
    }
    if let Some(file) = file {
        report::publish(file, &print::document(&report)?)?;
    }
    Ok(())
}

/// A plan, as a part of another one's.
pub(in crate::command) fn plan_of(plan: &MixedPlan) -> Result<String, Error> {
    Ok(planned(&plan.summary()?, None))
}

/// The whole plan.
fn planned(summary: &MixedSummary, timing: Option<&Timing>) -> String {
    let [peak, budget] = [summary.predicted_peak, summary.memory.budget].map(units::bytes);
    let free = summary.disk.free.map_or_else(|| "unknown".to_owned(), units::bytes);
    let mut facts = vec![
        ("from", format!("`{}`, {}", summary.model, units::bytes(summary.input_bytes))),
        ("to", format!("folder `{}`", summary.output)),
        ("goal", goal(summary.goal)),
        (
            "range",
            format!(
                "{} to {} bytes of all files but the record",
                units::count(summary.smallest),
                units::count(summary.largest)
            ),
        ),
        ("units", format!("{} of {} parameters", summary.units, units::count(summary.parameters))),
        (
            "observe",
            match &summary.sources[..] {
                [] => "nothing: weights alone decide what a choice loses".to_owned(),
                sources => sources.join(", "),
            },
        ),
        (
            "probe",
            format!("each unit alone, on {}", units::counted(summary.probing_tokens, "token")),
        ),
        ("judge", report::judged_on(&summary.judged_on)),
        (
            "beat",
            match &summary.uniform {
                Some(uniform) => {
                    format!("uniform {uniform}, which is taken if no allocation is better")
                }
                None => "uniform choices, as far as they meet the goal".to_owned(),
            },
        ),
        ("method", summary.method.to_string()),
        ("memory", format!("at most {peak} of {budget}")),
        ("disk", format!("{} needed meanwhile, {free} free", units::bytes(summary.disk.needed))),
    ];
    facts.extend(timing.map(|timing| ("time", timing.render())));
    facts.extend(summary.notes.iter().map(|note| ("note", note.clone())));
    let mut table = Table::new(&["choice", ">units", ">bytes of all files, if all had it"]);
    for choice in &summary.choices {
        table.row([
            choice.name.clone(),
            units::count(choice.units as u64),
            units::count(choice.bytes),
        ]);
    }
    let mut text = print::facts(&facts);
    let _ = write!(text, "\n{table}");
    text
}

fn goal(goal: Goal) -> String {
    match goal {
        Goal::Size(bytes) => format!("at most {} bytes of all files", units::count(bytes)),
        Goal::BitsPerWeight(bits) => format!("at most {bits} bits for each parameter of the model"),
        Goal::Kld(nats) => format!("a KL divergence of at most {nats}, upper end of its interval"),
    }
}

/// Where the artifact is, what it weighs, which units got what, and what was tried.
fn closed(output: &Path, report: &Report) -> String {
    let mut facts = vec![
        ("wrote", format!("folder `{}`", output.display())),
        ("size", closing::size(report)),
        ("schemes", closing::schemes(report)),
    ];
    facts.extend(report.calibration.as_ref().map(|data| ("observed", closing::observed(data))));
    let Some(mixed) = &report.mixed else { return print::facts(&facts) };
    facts.push(("goal", goal(mixed.goal)));
    facts.push(("taken", taken(mixed)));
    facts.push(("judged", report::judged_on(&mixed.judged_on)));
    let mut text = print::facts(&facts);
    let _ = write!(text, "\n{}\n{}", depth(&mixed.units), candidates(&mixed.candidates));
    text
}

fn taken(mixed: &MixedReport) -> String {
    match mixed.is_uniform {
        false => format!("{}, solved for", mixed.chosen),
        true => format!("{}: no allocation was better beyond the interval", mixed.chosen),
    }
}

/// Bits of every unit, a line for each layer; units that span layers stand alone.
fn depth(units: &[MixedUnit]) -> String {
    let mut layers: BTreeMap<Option<usize>, Vec<&MixedUnit>> = BTreeMap::new();
    units.iter().for_each(|unit| layers.entry(unit.layer).or_default().push(unit));
    let mut table =
        Table::new(&["layer", "units, with what a probe of each cost, in 1e-6 nats", "bits"]);
    for (layer, units) in layers {
        let told = units.iter().map(|unit| {
            format!("{} {} ({:.1})", short(&unit.name), unit.choice, unit.probe_kld * 1e6)
        });
        let bits = units.iter().map(|unit| bar(unit.bits));
        table.row([
            layer.map_or_else(String::new, |layer| layer.to_string()),
            told.collect::<Vec<_>>().join(", "),
            bits.collect::<Vec<_>>().join(" "),
        ]);
    }
    table.to_string()
}

/// The last part of a module's path.
fn short(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// A sign for each bit.
fn bar(bits: f64) -> String {
    let count = (bits.round() as usize).min(WIDEST);
    format!("{}{}", "#".repeat(count), ".".repeat(WIDEST - count))
}

/// Everything that was measured.
fn candidates(candidates: &[MixedCandidate]) -> String {
    let columns =
        ["allocation", "codes", ">bytes of units", ">expected", ">KL divergence", "95 % interval"];
    let mut table = Table::new(&columns);
    for candidate in candidates {
        let kld = &candidate.kld;
        table.row([
            candidate.name.clone(),
            if candidate.solved { "solved for" } else { "composed" }.to_owned(),
            units::count(candidate.bytes),
            candidate.expected.map_or_else(String::new, |expected| format!("{expected:.3e}")),
            format!("{:.3e}", kld.value),
            kld.interval()
                .map_or_else(String::new, |(low, high)| format!("{low:.3e} to {high:.3e}")),
        ]);
    }
    table.to_string()
}

/// Signs of a bar: an unquantized unit fills it.
const WIDEST: usize = 16;
