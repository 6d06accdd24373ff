//! A ladder carried out: statistics once, then every rung from them, then one reading sweep over all.

use crate::calibration::{StatisticsReport, observed_to};
use crate::ladder::plan::{LadderPlan, RungPlan, STATISTICS};
use crate::ladder::report::{LadderReport, Rung};
use crate::made::Made;
use crate::recipe::Calibrate;
use crate::run::plan;
use llmopt_checkpoint::{Output as Staged, OutputOptions};
use llmopt_data::{CalibrationFacts, CalibrationRequest, CalibrationSource};
use llmopt_eval::Comparison;
use llmopt_measure::compared;
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error, Events};
use llmopt_sweep::Run;
use std::path::Path;

/// Carries out a plan. Rungs that stay get their names last, when all are judged; nothing else is left, whatever
/// happens.
///
/// # Errors
/// If the model cannot be read, a rung is not sound, or the run is to stop.
pub fn ladder(
    plan: &LadderPlan,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<LadderReport, Error> {
    // What a killed run has left is of no use.
    Staged::discard_left(&plan.work)?;
    let source = plan.variant.source().path();
    let work = Staged::begin(&plan.work, OutputOptions { force: true, file: false, source })?;
    let climbed = climbed(plan, work.partial_path(), (events, cancel));
    let removed = work.discard();
    let report = climbed?;
    removed?;
    Ok(report)
}

fn climbed(
    plan: &LadderPlan,
    work: &Path,
    shown: (&dyn Events, &Cancel),
) -> Result<LadderReport, Error> {
    let (calibrate, observed) = statistics(plan, work, shown)?;
    let rungs = plan.rungs.len();
    let mut made = Vec::new();
    for (number, rung) in plan.rungs.iter().enumerate() {
        shown.0.note(&format!("rung {} of {rungs}: {}", number + 1, rung.facts.scheme));
        made.push(rung_made(plan, rung, calibrate.as_ref(), work, shown)?);
    }
    let found = judged(plan, &made, shown)?;
    let saved = made.first().and_then(|made| made.report.calibration.as_ref());
    let calibration = observed.or_else(|| saved.map(|calibration| calibration.data.clone()));
    let told = made.iter().zip(&plan.rungs).zip(&found).map(|((made, rung), found)| {
        let method = made.plan.recipe.method.to_string();
        Rung::new(rung.facts.clone(), (method, made.report.fallbacks.len()), found)
    });
    let report = LadderReport {
        tool: "llmopt",
        version: env!("CARGO_PKG_VERSION"),
        model: plan.variant.name(),
        bytes: plan.model_bytes(),
        calibration,
        judged_on: plan.judges.text.clone(),
        kernel: plan.engine.gemm().name(),
        rungs: told.collect(),
    };
    for (made, rung) in made.into_iter().zip(&plan.rungs) {
        settled(plan, made, rung)?;
    }
    Ok(report)
}

/// What all rungs are calibrated with, if they are: statistics that are there, or are made now.
fn statistics(
    plan: &LadderPlan,
    work: &Path,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<(Option<Calibrate>, Option<CalibrationFacts>), Error> {
    let Some(calibrate) = &plan.request.calibrate else { return Ok((None, None)) };
    let Some(statistics) = &plan.statistics else { return Ok((Some(calibrate.clone()), None)) };
    let path = work.join(STATISTICS);
    let StatisticsReport { runs, .. } = observed_to(statistics, &path, (events, cancel))?;
    let data = CalibrationRequest::new(vec![CalibrationSource::File { path, weight: 1.0 }]);
    let observed = runs.into_iter().next().map(|run| run.data);
    Ok((Some(Calibrate { data, ..calibrate.clone() }), observed))
}

/// A rung in its staging folder, verified.
fn rung_made(
    ladder: &LadderPlan,
    rung: &RungPlan,
    calibrate: Option<&Calibrate>,
    work: &Path,
    shown: (&dyn Events, &Cancel),
) -> Result<Made, Error> {
    let request = &ladder.request;
    let recipe = request.recipe(rung.facts.bits, calibrate.cloned())?;
    let target = request.target(work.join(rung.named.file_name().unwrap_or_default()));
    let plan = plan(&request.model, &target, &recipe, ladder.resources)?;
    Made::new(plan, shown)
}

/// What each rung lost, in one sweep over the original and all of them.
fn judged(
    plan: &LadderPlan,
    made: &[Made],
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<Vec<Comparison>, Error> {
    let mut variants = vec![plan.variant.clone()];
    for made in made {
        variants.push(Variant::open(made.staged.partial_path())?);
    }
    let LadderPlan { engine, resources, scratch, memory, judges, .. } = plan;
    let run = Run { engine, resources: *resources, scratch, events, cancel };
    compared("judge", &variants, &judges.windows, memory, run)
}

/// Gives a rung that stays its name, and removes any other.
fn settled(plan: &LadderPlan, made: Made, rung: &RungPlan) -> Result<(), Error> {
    if rung.facts.kept.is_none() {
        return Ok(made.staged.discard()?);
    }
    let files = made.plan.files().into_keys().map(str::to_owned);
    let names: Vec<String> = files.chain([made.plan.report_name()]).collect();
    let options = plan.request.options(plan.variant.source().path());
    let named = Staged::begin(&rung.named, options)?;
    Ok(named.with_content_of(made.staged)?.publish(&names)?)
}
