//! `llmopt quantize` with a size or a quality to meet: the plan, or what each unit got and why.

use super::{STOPPING, closing};
use crate::current::Input;
use crate::failure::Failure;
use crate::flags::Quantize;
use crate::print::{self, Table};
use crate::progress::Progress;
use crate::report::FileOf;
use crate::timing::{RequestedAmount, Timing};
use crate::{report, request, signal, units};
use llmopt_pipeline::{Error, MixedPlan, MixedRecipe, MixedRequest, MixedSummary, Report};
use std::fmt::Write;
use std::path::Path;

pub(super) fn run(flags: &Quantize, recipe: MixedRecipe) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    let file = flags.report.as_deref().map(report::mixed_file).transpose()?;
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
    let file = file.map(FileOf::pending).transpose()?;
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
        file.publish(&report)?;
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
        ("goal", report::goal(summary.goal)),
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

/// Where the artifact is, what it weighs, which units got what, and what was tried.
fn closed(output: &Path, made: &Report) -> String {
    let mut facts = vec![
        ("wrote", format!("folder `{}`", output.display())),
        ("size", closing::size(made)),
        ("schemes", closing::schemes(made)),
    ];
    facts.extend(made.calibration.as_ref().map(|data| ("observed", closing::observed(data))));
    let Some(mixed) = &made.mixed else { return print::facts(&facts) };
    facts.extend(report::mixed_facts(mixed));
    let mut text = print::facts(&facts);
    let _ = write!(text, "\n{}", report::mixed(mixed));
    text
}
