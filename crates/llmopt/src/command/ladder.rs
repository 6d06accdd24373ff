//! `llmopt ladder`: the plan, or several sizes of a model beside each other.

use crate::current::Input;
use crate::failure::{Failure, Refusal};
use crate::flags::{CalibrationDtype, DataFlags, Group, Ladder};
use crate::print::{self, Table};
use crate::progress::Progress;
use crate::report::{self, FileOf};
use crate::{request, signal, units, vain};
use llmopt_pipeline::{
    Calibrate, CalibrationRequest, CalibrationSource, GroupSize, LadderPlan, LadderReport,
    LadderRequest, LadderSummary,
};
use std::fmt::Write;

pub(super) fn run(flags: &Ladder) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    let reports = flags.report.iter().map(|path| report::ladder_file(path));
    let reports = reports.collect::<Result<Vec<_>, _>>()?;
    let input = Input::of(flags.model.as_deref(), console)?;
    let resources = request::resources(flags.memory, flags.threads);
    let plan = llmopt_pipeline::plan_ladder(&ladder(flags, &input)?, resources)?;
    if flags.dry_run {
        let summary = plan.summary()?;
        return if console.json { print::json(&summary) } else { print::data(&planned(&summary)) };
    }
    let reports = reports.into_iter().map(FileOf::pending).collect::<Result<Vec<_>, _>>()?;
    let progress = Progress::begin(console, None);
    signal::watch(&progress, "stopping");
    let found = llmopt_pipeline::ladder(&plan, &*progress, &signal::CANCEL)?;
    drop(progress);
    if console.json {
        print::json(&found)?;
    } else if !console.quiet {
        print::data(&report::ladder(&found))?;
        print::say(next(&plan, &found).trim_end());
    }
    for report in reports {
        report.publish(&found)?;
    }
    Ok(())
}

/// What `ladder` was asked to do.
fn ladder(flags: &Ladder, input: &Input) -> Result<LadderRequest, Refusal> {
    let kernel = request::kernel(&flags.kernel)?;
    let data = DataFlags {
        samples: flags.samples,
        window: flags.window,
        bos: None,
        seed: flags.seed,
        date: None,
    };
    let data = request::unchecked_data("--calibrate", &flags.calibrate, data)?;
    vain::of_ladder(flags, &data.sources)?;
    let calibrate = match &data.sources[..] {
        [] => None,
        sources => Some(Calibrate {
            data: match sources.iter().any(CalibrationSource::is_statistics) {
                // Their windows are chosen already; the options are for the text alone.
                true => CalibrationRequest::new(data.sources),
                false => data,
            },
            precision: flags.dtype.unwrap_or(CalibrationDtype::Auto).precision(kernel),
            kernel,
            ..Calibrate::new(Vec::new())
        }),
    };
    Ok(LadderRequest {
        model: input.path.clone(),
        bits: request::bits("--bits", &flags.bits)?,
        group_size: match flags.group_size {
            None => GroupSize::Auto,
            Some(Group::Channel) => GroupSize::Channel,
            Some(Group::Columns(columns)) => GroupSize::Columns(columns),
        },
        calibrate,
        samples: flags.samples.unwrap_or(USUAL_SAMPLES),
        window: flags.window,
        text: flags.text.clone(),
        keep: request::bits("--keep", &flags.keep)?,
        folder: flags.output.clone().or_else(|| input.output_folder.clone()),
        force: flags.force,
        runtimes: request::runtimes(&flags.runtime)?,
        kernel,
        scratch: flags.scratch.clone(),
    })
}

/// The whole plan.
fn planned(summary: &LadderSummary) -> String {
    let mut facts =
        vec![("model", format!("`{}`, {} of weights", summary.model, units::bytes(summary.bytes)))];
    facts.push(match (&summary.sources[..], summary.windows) {
        ([], _) => ("observe", "nothing: weights alone decide".to_owned()),
        (sources, None) => ("statistics", sources.join(", ")),
        (sources, Some(windows)) => {
            let windows = units::counted(windows, "window");
            let bytes = units::bytes(summary.statistics_bytes.unwrap_or(0));
            ("observe", format!("{windows} of {}, as {bytes} of statistics", sources.join(", ")))
        }
    });
    facts.push(("judge", report::judged_on(&summary.judged_on)));
    let kept: Vec<&str> = summary.rungs.iter().filter_map(|rung| rung.kept.as_deref()).collect();
    facts.push((
        "keep",
        match &kept[..] {
            [] => "no artifact: `--keep BITS` leaves one".to_owned(),
            kept => format!("{} in `{}`", kept.join(", "), summary.folder),
        },
    ));
    let [peak, budget, smallest] =
        [summary.memory.predicted_peak, summary.memory.budget, summary.memory.smallest]
            .map(units::bytes);
    facts.push(("memory", format!("at most {peak} of {budget} to judge; {smallest} would do")));
    let free = summary.disk.free.map_or_else(|| "unknown".to_owned(), units::bytes);
    facts.push((
        "disk",
        format!(
            "{} needed in `{}` until all are judged, {free} free",
            units::bytes(summary.disk.needed),
            summary.folder
        ),
    ));
    let mut table = Table::new(&["bits", "group size", ">bytes", ">size", ">bits per weight"]);
    for rung in &summary.rungs {
        table.row([
            rung.bits.to_string(),
            report::group_size(rung),
            units::count(rung.bytes),
            units::share(rung.bytes, summary.bytes),
            format!("{:.2}", rung.bits_per_weight),
        ]);
    }
    let mut text = print::facts(&facts);
    let _ = write!(text, "\n{table}");
    text
}

/// Where the artifacts are that stay, and how to get others.
fn next(plan: &LadderPlan, found: &LadderReport) -> String {
    let kept = || found.rungs.iter().filter_map(|rung| rung.planned.kept.as_deref());
    let mut facts: Vec<(&str, String)> = kept()
        .map(|name| ("wrote", format!("folder `{}`", plan.folder().join(name).display())))
        .collect();
    if facts.is_empty() {
        facts.push(("next", "the same command with `--keep BITS` leaves an artifact".to_owned()));
    }
    print::facts(&facts)
}

/// Of `--samples`.
const USUAL_SAMPLES: usize = 128;
