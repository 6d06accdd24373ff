//! `llmopt run`: the stages of a recipe, the evaluation of what they make, and the verdict.

mod closing;
mod plan;

use crate::failure::Failure;
use crate::flags::Run;
use crate::print::{self, Console};
use crate::progress::Progress;
use crate::recipe::Requested;
use crate::report::card::{self, Card, CardRequest, name_of};
use crate::report::{self, PendingReport, ReportFile, github};
use crate::{request, signal};
use llmopt_pipeline::{
    EVALUATION_NAME, Error, Evaluation, Events, JobPlan, Made, RecordFile, plan_evaluation,
    plan_job,
};
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn run(flags: &Run) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    let requested = Requested::of(flags)?;
    let job = plan_job(&requested.job, requested.resources)?;
    let timing = plan::timing(&job)?;
    if flags.dry_run {
        return match console.json {
            true => print::json(&plan::document(&job, &timing)?),
            false => print::data(&plan::render(&job, &timing)?),
        };
    }
    let reports = requested.reports.iter().cloned().map(ReportFile::pending);
    let reports = reports.collect::<Result<Vec<_>, _>>()?;
    request::near_bound(job.predicted_peak(), requested.resources);
    let progress = Progress::begin(console, Some(&timing));
    signal::watch(&progress, STOPPING);
    let made = job.make(&*progress, &signal::CANCEL)?;
    let evaluation = evaluated(&job, &made, &requested, &*progress)?;
    drop(progress);
    told(evaluation.as_ref(), reports)?;
    let missed = evaluation.as_ref().map(report::missed).filter(|missed| !missed.is_empty());
    if missed.is_some() && requested.discards {
        made.discard()?;
        print::say("removed   the artifact, as `on-miss = \"discard\"` says");
    } else {
        let record = published(&job, made, &requested, evaluation.as_ref())?;
        closed(&job, &record, evaluation.as_ref(), console)?;
    }
    missed.map_or(Ok(()), |missed| Err(Failure::Gates(missed)))
}

/// Measures what was made, if anything is to be measured.
fn evaluated(
    job: &JobPlan,
    made: &Made,
    requested: &Requested,
    events: &dyn Events,
) -> Result<Option<Evaluation>, Failure> {
    let Some(request) = made.evaluation() else { return Ok(None) };
    let plan = plan_evaluation(request, requested.resources)?;
    let mut evaluation =
        llmopt_pipeline::evaluate(&plan, events, &signal::CANCEL).map_err(|error| match error {
            // The stages are kept.
            Error::Interrupted => Error::Paused,
            error => error,
        })?;
    evaluation.artifact.name = name_of(job.output());
    Ok(Some(evaluation))
}

/// Writes the reports, whatever the verdict.
fn told(evaluation: Option<&Evaluation>, reports: Vec<PendingReport>) -> Result<(), Failure> {
    let Some(evaluation) = evaluation else { return Ok(()) };
    reports.into_iter().try_for_each(|report| report.publish(evaluation))?;
    github::show(evaluation)
}

/// Gives the artifact its name, with its evaluation beside it; returns its record.
fn published(
    job: &JobPlan,
    made: Made,
    requested: &Requested,
    evaluation: Option<&Evaluation>,
) -> Result<Value, Failure> {
    let folder = made.gather()?;
    let measured = evaluation.map(print::document).transpose()?;
    let beside: Vec<(&str, &[u8])> =
        measured.iter().map(|text| (EVALUATION_NAME, text.as_bytes())).collect();
    match requested.card {
        true => card_of(job, folder, requested, evaluation)?.write(&beside)?,
        false => RecordFile::open(folder)?.publish_with(&beside)?,
    }
    let record = RecordFile::open(folder)?.record().clone();
    let card = requested.card.then_some(card::CARD);
    made.publish(&card.into_iter().chain(beside.iter().map(|file| file.0)).collect::<Vec<_>>())?;
    Ok(record)
}

/// The model card, on the basis of the model's own if that has one.
fn card_of(
    job: &JobPlan,
    folder: &Path,
    requested: &Requested,
    evaluation: Option<&Evaluation>,
) -> Result<Card, Failure> {
    let evaluation = evaluation.map(serde_json::to_value).transpose();
    let evaluation = evaluation.map_err(|error| Failure::Standard(std::io::Error::other(error)))?;
    let base_model = requested.base_model.clone().unwrap_or_else(|| name_of(&requested.job.model));
    let request = CardRequest {
        name: Some(&name_of(job.output())),
        base_model: Some(&base_model),
        evaluation: evaluation.as_ref(),
        recipe: requested.text.as_deref(),
    };
    Card::of(folder, &request)
}

/// Says what came out.
fn closed(
    job: &JobPlan,
    record: &Value,
    evaluation: Option<&Evaluation>,
    console: Console,
) -> Result<(), Failure> {
    if console.json {
        let output = job.output().to_string_lossy();
        return print::json(
            &json!({ "output": output, "record": record, "evaluation": evaluation }),
        );
    }
    if !console.quiet {
        print::say(closing::render(job.output(), record).trim_end());
        evaluation.map_or(Ok(()), |evaluation| print::data(&report::table(evaluation)))?;
    }
    Ok(())
}

const STOPPING: &str = "stopping after the current place; run the same command again to go on";
