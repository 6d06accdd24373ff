//! What `run` would do.

use crate::command::{eval, prune, quantize};
use crate::failure::Failure;
use crate::timing::{RequestedAmount, Timing};
use crate::{print, units};
use llmopt_pipeline::{Error, JobPlan, PlannedStage, TimeEstimate};
use serde_json::{Value, json};
use std::fmt::Write;

/// How long the whole job will take: every stage as if on the whole model.
pub(super) fn timing(job: &JobPlan) -> Result<Timing, Error> {
    let mut whole = TimeEstimate { seconds: 0.0, stages: Vec::new() };
    let mut add = |estimate: TimeEstimate| {
        whole.seconds += estimate.seconds;
        whole.stages.extend(estimate.stages);
    };
    for stage in job.stages() {
        add(match stage {
            PlannedStage::Prune(plan) => plan.estimate(&plan.speed()?, None),
            PlannedStage::Quantize(plan) => plan.estimate(&plan.speed()?, None)?,
            PlannedStage::Mixed(plan) => plan.estimate()?,
        });
    }
    if let Some(plan) = job.evaluation() {
        add(plan.estimate(&plan.speed()?, None));
    }
    Timing::new(whole, RequestedAmount::default(), None, |_| Err(Error::Interrupted))
}

/// The whole plan.
pub(super) fn render(job: &JobPlan, timing: &Timing) -> Result<String, Error> {
    let facts = [
        ("to", format!("folder `{}`", job.output().display())),
        ("memory", format!("at most {}", units::bytes(job.predicted_peak()))),
        ("time", timing.render()),
    ];
    let mut text = print::facts(&facts);
    for (number, stage) in job.stages().iter().enumerate() {
        let bound = if number == 0 { "" } else { ", as it would be on the whole model" };
        let (name, plan) = match stage {
            PlannedStage::Prune(plan) => ("prune", prune::plan_of(plan)),
            PlannedStage::Quantize(plan) => ("quantize", quantize::plan_of(plan)),
            PlannedStage::Mixed(plan) => ("quantize", quantize::mixed_plan_of(plan)?),
        };
        let _ = write!(text, "\nstage {number}: {name}{bound}\n\n{plan}");
    }
    if let Some(plan) = job.evaluation() {
        let plan = eval::plan_of(plan);
        let _ = write!(text, "\nevaluation, as it would be of the model itself\n\n{plan}");
    }
    Ok(text)
}

/// The plan for programs.
pub(super) fn document(job: &JobPlan, timing: &Timing) -> Result<Value, Failure> {
    let value = |value: Result<Value, serde_json::Error>| {
        value.map_err(|error| Failure::Standard(std::io::Error::other(error)))
    };
    let mut stages = Vec::new();
    for stage in job.stages() {
        stages.push(match stage {
            PlannedStage::Prune(plan) => {
                json!({ "prune": value(serde_json::to_value(plan.summary()))? })
            }
            PlannedStage::Quantize(plan) => {
                json!({ "quantize": value(serde_json::to_value(plan.summary()))? })
            }
            PlannedStage::Mixed(plan) => {
                json!({ "quantize": value(serde_json::to_value(plan.summary()?))? })
            }
        });
    }
    let evaluation = job.evaluation().map(|plan| serde_json::to_value(plan.summary()));
    let evaluation = evaluation.map(value).transpose()?;
    timing.document(&json!({
        "output": job.output().to_string_lossy(),
        "predicted_peak": job.predicted_peak(),
        "stages": stages,
        "evaluation": evaluation,
    }))
}
