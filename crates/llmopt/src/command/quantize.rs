//! `llmopt quantize`: the plan, or the plan carried out.

mod closing;
mod mixed;
mod next_step;
mod plan;

use crate::current::Input;
use crate::failure::Failure;
use crate::flags::Quantize;
use crate::print;
use crate::progress::Progress;
use crate::timing::{RequestedAmount, Timing};
use crate::{report, request, signal};
use llmopt_pipeline::Plan;

pub(super) fn run(flags: &Quantize) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    if let Some(recipe) = request::mixed(flags)? {
        return mixed::run(flags, recipe);
    }
    let recipe = request::recipe(flags)?;
    request::report(flags.report.as_deref())?;
    let input = Input::of(flags.model.as_deref(), console)?;
    input.announce_output(flags.output.as_deref(), console);
    let target = request::target(flags, input.output_folder);
    let resources = request::resources(flags.memory, flags.threads);
    let plan = llmopt_pipeline::plan(&input.path, &target, &recipe, resources)?;
    let speed = plan.speed()?;
    let said = RequestedAmount { samples: flags.data.samples, window: flags.data.window };
    let on = |windows| plan.estimate(&speed, windows);
    let timing =
        Timing::new(on(None)?, said, plan.observed_windows(), |windows| on(Some(windows)))?;
    if flags.dry_run {
        let summary = plan.summary();
        return match console.json {
            true => print::json(&timing.document(&summary)?),
            false => print::data(&plan::render(&summary, Some(&timing), flags.verbose)),
        };
    }
    let file = flags.report.as_deref().map(report::pending).transpose()?;
    request::near_bound(plan.summary().memory.predicted_peak, resources);
    let progress = Progress::begin(console, Some(&timing));
    signal::watch(&progress, STOPPING);
    let report = llmopt_pipeline::quantize(&plan, &*progress, &signal::CANCEL)?;
    if console.json {
        print::json(&report)?;
    } else if !console.quiet {
        print::say(closing::render(&plan.summary(), &report).trim_end());
    }
    if let Some(file) = file {
        report::publish(file, &print::document(&report)?)?;
    }
    Ok(())
}

pub(super) use mixed::plan_of as mixed_plan_of;

/// A plan, as a part of another one's.
pub(super) fn plan_of(planned: &Plan) -> String {
    plan::render(&planned.summary(), None, false)
}

/// What is said when a run is stopped.
pub(super) const STOPPING: &str =
    "stopping after the current band; run the same command again to go on";
