//! A run from start to end: read this first.

use crate::calibration::observed_data::ObservedData;
use crate::calibration::plan::Calibration;
use crate::calibration::smoothing::{self, PlannedSmoothing};
use crate::calibration::stage::CalibratedStage;
use crate::calibration::statistics::saved::resolved;
use crate::decision::PlannedDecision;
use crate::expected::verify_written;
use crate::method::Method;
use crate::output_target::Target;
use crate::plan::{Output, Plan, Requested};
use crate::recipe::Recipe;
use crate::report::Report;
use crate::{select, too_small};
use llmopt_checkpoint::{Output as Staged, Source, sha256};
use llmopt_model::{Checkpoint, Smoothing, nonfinite};
use llmopt_rewrite::{
    BEGUN_ANEW, BlockRuns, Boundary, Candidates, FileHashes, FilesBeside, Finished, Journal, Pass,
    Stage, Sweep, Treatment, Written, beside_name, made_from,
};
use llmopt_run::{Cancel, Error, Events, Resources, on_threads};
use llmopt_tensor::Dtype;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::iter::once;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Decides everything that can be decided without reading a weight.
///
/// # Errors
/// What cannot be done is refused here, and what is wrong with the input is named.
pub fn plan(
    model: &Path,
    target: &Target,
    recipe: &Recipe,
    resources: Resources,
) -> Result<Plan, Error> {
    check_method(recipe)?;
    recipe.check_smoothing()?;
    let recipe = &resolved(recipe)?;
    let checkpoint = Checkpoint::open(model)?;
    let Checkpoint { source, model } = &checkpoint;
    let nonfinite = nonfinite::allowed(source, model, recipe.allow_nonfinite, resources.threads)?;
    let requested = Requested {
        checkpoint,
        nonfinite,
        target: target.clone(),
        recipe: recipe.clone(),
        resources,
        small: BTreeMap::new(),
    };
    within(resources, |resources| with_alternatives(&requested, resources))
}

/// Plans something. Each step of planning names only the memory that it needs itself: if one does not
/// fit, the smallest bound is named that all go through with.
pub(crate) fn within<T>(
    resources: Resources,
    plan: impl Fn(Resources) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut planned = plan(resources);
    let mut bound = resources;
    while let Err(Error::Budget { smallest, .. }) = planned {
        if smallest <= bound.memory {
            break;
        }
        bound.memory = smallest;
        planned = plan(bound);
    }
    match bound.memory > resources.memory {
        true => Err(Error::Budget { given: resources.memory, smallest: bound.memory }),
        false => planned,
    }
}

/// The plan of an artifact, of the one that it has to beat, if any, and of the choice between them.
fn with_alternatives(requested: &Requested, resources: Resources) -> Result<Plan, Error> {
    let Requested { target, recipe, .. } = requested;
    let plan = planned(requested, target, &recipe.resolved(), resources)?;
    if recipe.method == Method::Auto && plan.judges_nothing() {
        return without_choice(requested, resources);
    }
    let rival = recipe.rival().map(|rival| {
        let path = beside_name(&plan.output, &rival.method.to_string());
        let target = Target { output: Some(path), force: true, ..target.clone() };
        planned(requested, &target, &rival, resources)
    });
    let alternatives: Vec<Plan> = rival.transpose()?.into_iter().collect();
    let decision = PlannedDecision::new(&plan, &alternatives, resources)?;
    Ok(Plan { alternatives, decision, requested: Some(Box::new(requested.clone())), ..plan })
}

/// The plan where no window is left to judge methods by: of all methods the one that stays near the
/// weights, since what a single window shows of the inputs carries no more than that.
fn without_choice(requested: &Requested, resources: Resources) -> Result<Plan, Error> {
    let recipe = Recipe { method: Method::Search, ..requested.recipe.clone() };
    let mut plan = planned(requested, &requested.target, &recipe, resources)?;
    if let Some(calibration) = &mut plan.calibration {
        calibration.note(NOTHING_TO_JUDGE_BY);
    }
    Ok(Plan { requested: Some(Box::new(requested.clone())), ..plan })
}

const NOTHING_TO_JUDGE_BY: &str =
    "one window is too few to choose a method by: none would be held out, so it is `search`";

/// The plan of one artifact.
fn planned(
    requested: &Requested,
    target: &Target,
    recipe: &Recipe,
    resources: Resources,
) -> Result<Plan, Error> {
    let Requested { checkpoint, nonfinite, small, .. } = requested;
    let Checkpoint { source, model } = checkpoint;
    let small = small.iter().map(|(tensor, why)| (tensor.as_str(), why.clone()));
    let mut kept = nonfinite::with_partners(model, small);
    kept.extend(nonfinite.kept.clone());
    let selection = select::selected(model, recipe, &kept)?;
    let output = output(source, target, recipe)?;
    Staged::check(&output.path, output.options(source))?;
    let smoothing =
        recipe.smooth.map(|smooth| PlannedSmoothing::new(checkpoint, &selection, smooth));
    let smoothing = smoothing.transpose()?;
    let held = smoothing.as_ref().map_or(0, PlannedSmoothing::held_bytes);
    let plan = smoothing::beside(held, resources, |resources| {
        let selected = (&selection, smoothing);
        let plan = Plan::new(checkpoint.clone(), selected, recipe, output, resources)?;
        let plan = Plan { nonfinite: nonfinite.found.clone(), ..plan };
        plan.calibrated(target.scratch.clone(), resources)
    });
    Ok(plan?.holding(held))
}

/// Whether method and calibration go together.
fn check_method(recipe: &Recipe) -> Result<(), Error> {
    let (method, calibrated) = (recipe.method, recipe.calibrate.is_some());
    if calibrated && !method.calibrates() {
        return Err(Error::RefusedWithHint {
            what: format!("`--method {method}` does nothing with calibration data"),
            hint: "leave `--calibrate` out, or choose another method".to_owned(),
        });
    }
    if !calibrated && !method.is_data_free() {
        return Err(Error::RefusedWithHint {
            what: format!("`--method {method}` needs calibration data"),
            hint: "`--calibrate FILE` gives them; `--calibrate builtin` takes the text that comes with llmopt"
                    .to_owned(),
        });
    }
    Ok(())
}

/// Carries out a plan. The artifact gets its name last, after it was read back and verified.
///
/// # Errors
/// Nothing is left behind when the input or the request is at fault; after an interruption or a
/// failure of the system, the same plan goes on where it stopped.
pub fn quantize(plan: &Plan, events: &dyn Events, cancel: &Cancel) -> Result<Report, Error> {
    plan.notes().iter().for_each(|note| events.note(note));
    plan.decision.iter().filter_map(PlannedDecision::note).for_each(|note| events.note(&note));
    match (attempted(plan, None, (events, cancel)), &plan.requested) {
        (Err(Error::TooSmall(small)), Some(_)) => match without_small(plan, small, events)? {
            Some(plan) => quantize(&plan, events, cancel),
            None => attempted(plan, None, (events, cancel)),
        },
        (done, _) => done,
    }
}

/// The plan without matrices that turned out to be too small; none for an alternative.
pub(crate) fn without_small(
    plan: &Plan,
    small: BTreeMap<String, String>,
    events: &dyn Events,
) -> Result<Option<Plan>, Error> {
    let Some(requested) = &plan.requested else { return Ok(None) };
    let mut requested = requested.clone();
    requested.small.extend(small);
    let plan = within(requested.resources, |resources| with_alternatives(&requested, resources))?;
    events.note("some matrices are too small to be quantized: starting over without them");
    Ok(Some(plan))
}

/// Carries out a plan, unless matrices turn out to be too small; `ahead` writes its source meanwhile.
pub(crate) fn attempted(
    plan: &Plan,
    ahead: Option<&Ahead<'_>>,
    shown: (&dyn Events, &Cancel),
) -> Result<Report, Error> {
    let outputs = [plan].into_iter().chain(&plan.alternatives).map(Plan::staging);
    let candidates = Candidates::begin(&plan.output, outputs, once(Method::RIVAL.to_string()))?;
    candidates.published(|staged| {
        let (best, report) = write_artifact(plan, staged, ahead, shown)?;
        let files = plan.files().into_keys().map(str::to_owned);
        Ok(Written { best, names: files.chain([plan.report_name()]).collect(), report })
    })
}

/// Writes the artifact and its alternatives, and chooses: the number of the chosen one, and its report.
pub(crate) fn write_artifact(
    plan: &Plan,
    staged: &[Staged],
    ahead: Option<&Ahead<'_>>,
    shown: (&dyn Events, &Cancel),
) -> Result<(usize, Report), Error> {
    let (events, cancel) = shown;
    // What is being written meanwhile cannot be looked at yet; it comes from what was looked at.
    if ahead.is_none() {
        refuse_nonfinite(plan, shown)?;
    }
    let data = plan.calibration.as_ref().map(|calibration| calibration.data(events, cancel));
    let data = data.transpose()?;
    let plans: Vec<&Plan> = [plan].into_iter().chain(&plan.alternatives).collect();
    if let Some(data) = &data {
        smoothed(&plans, data, shown)?;
    }
    let mut written = Vec::new();
    for (number, (plan, staged)) in plans.iter().zip(staged).enumerate() {
        let ahead = ahead.filter(|_| number == 0);
        written.push(swept(plan, staged, data.as_ref(), ahead, shown)?);
    }
    let decision = match (&plan.decision, &plan.calibration, &data) {
        (Some(planned), Some(calibration), Some(data)) => {
            Some(planned.decided(calibration, staged, data, shown)?)
        }
        _ => None,
    };
    let best = decision.as_ref().map_or(0, |decision| decision.best);
    let swept = written.swap_remove(best);
    let block_runs = swept.block_runs;
    let facts = data.map(|data| data.facts).filter(|_| plans[best].calibration.is_some());
    let made_from = match ahead {
        Some(ahead) => Some((ahead.how_made)()?),
        None => made_from(&plan.source, &swept.finished.hashes.read, events)?,
    };
    let report = Report { decision, ..Report::new(plans[best], swept, facts, made_from) };
    staged[best].write_with(&plan.report_name(), |out| report.write(out))?;
    verify_written(plans[best], staged[best].partial_path(), cancel)?;
    Ok((best, Report { block_runs, ..report }))
}

/// Decides the scales of channels for the artifact and its alternatives alike.
fn smoothed(
    plans: &[&Plan],
    data: &ObservedData,
    shown: (&dyn Events, &Cancel),
) -> Result<(), Error> {
    let Some((plan, calibration)) =
        plans.first().and_then(|plan| Some((plan, plan.calibration.as_ref()?)))
    else {
        return Ok(());
    };
    let Some(smoothing) = &plan.smoothing else { return Ok(()) };
    let pairs = smoothing.scaled(calibration, &data.windows, shown)?;
    let dense = plan.places().filter(|(_, place)| place.treatment == Treatment::Smooth);
    let dense: BTreeMap<&str, Dtype> =
        dense.map(|(entry, place)| (&*entry.name, place.dense_dtype)).collect();
    let stored_as = |tensor: &str| dense.get(tensor).copied();
    let smoothing = Arc::new(Smoothing::new(&plan.source, pairs, stored_as)?);
    for plan in plans {
        let variant = plan.calibration.as_ref().map(|calibration| &calibration.variant);
        plan.smoothing.iter().for_each(|planned| planned.decide(&smoothing, variant));
    }
    Ok(())
}

/// What the sweeps would find after hours of observing is found before.
fn refuse_nonfinite(plan: &Plan, shown: (&dyn Events, &Cancel)) -> Result<(), Error> {
    match plan.calibration.is_some() && !plan.recipe.allow_nonfinite {
        true => nonfinite::refused(&plan.source, &plan.model, true, plan.memory.workers, shown),
        false => Ok(()),
    }
}

/// A stage in the same sweep that writes what a plan reads.
pub(crate) struct Ahead<'a> {
    pub(crate) stage: &'a dyn Stage,
    /// Whether both are observed on the same tokens by the same kernel.
    pub(crate) shares: bool,
    /// Ends its artifact, once nothing of it is left to be rewritten.
    pub(crate) finish: &'a dyn Fn() -> Result<(), Error>,
    /// How its artifact was made, once it is ended.
    pub(crate) how_made: &'a dyn Fn() -> Result<Value, Error>,
}

/// An artifact of which only the report is missing, and how often its blocks were run.
pub(crate) struct Swept {
    pub(crate) finished: Finished,
    block_runs: Option<BlockRuns>,
}

fn swept(
    plan: &Plan,
    staged: &Staged,
    data: Option<&ObservedData>,
    ahead: Option<&Ahead<'_>>,
    shown: (&dyn Events, &Cancel),
) -> Result<Swept, Error> {
    let (events, _) = shown;
    let identity = identity(plan)?;
    if plan.requested.is_some() && staged.holds_other_work(&identity)? {
        events.note(BEGUN_ANEW);
    }
    let journal = Journal::open(staged, &identity)?;
    let boundary = Boundary::open(&plan.artifact, staged, journal, |planned| {
        let calibration = plan.calibration.as_ref();
        planned.tensor.scheme().is_some() && calibration.is_some_and(|c| c.reaches(planned.origin))
    })?;
    let done = rewritten(plan, data, &boundary, ahead, shown);
    let (block_runs, read) = boundary.settled(done)?;
    events.stage_finished("rewrite");
    too_small::refused(plan, &boundary.records)?;
    let written = boundary.read_back(plan.memory.workers, shown)?;
    let beside = beside(plan, staged)?;
    let hashes = FileHashes { read, written, beside };
    let finished = Finished { records: boundary.records, hashes };
    Ok(Swept { finished, block_runs })
}

/// What needs calibration first, then everything else. Returns how often blocks were run, and the hash of
/// each source shard.
fn rewritten(
    plan: &Plan,
    data: Option<&ObservedData>,
    boundary: &Boundary<'_>,
    ahead: Option<&Ahead<'_>>,
    shown: (&dyn Events, &Cancel),
) -> Result<(Option<BlockRuns>, Vec<String>), Error> {
    let resumes = boundary.records.bands_done() > 0 && plan.calibration.is_none();
    let block_runs = match (&plan.calibration, data) {
        (Some(calibration), Some(data)) => {
            calibrated((plan, calibration), data, boundary, ahead, shown)?
        }
        _ => None,
    };
    shown.0.stage_started("rewrite", plan.source.shards().iter().map(|s| s.bytes).sum());
    let workers = plan.memory.workers;
    let pass = Pass { takes: &|_| true, hashes: true, resumes, workers };
    Ok((block_runs, boundary.rewrite(&pass, plan, shown)?))
}

/// Rewrites what calibration reaches, behind the stage `ahead`. Tells how often the blocks were run, if they
/// were.
fn calibrated(
    (plan, calibration): (&Plan, &Calibration),
    data: &ObservedData,
    boundary: &Boundary<'_>,
    ahead: Option<&Ahead<'_>>,
    shown: (&dyn Events, &Cancel),
) -> Result<Option<BlockRuns>, Error> {
    let batches = calibration.batches(data.windows.clone());
    let stage = CalibratedStage::new((plan, calibration), boundary, &batches, shown)?;
    shown.0.stage_started("calibrate", stage.bytes());
    stage.pass_over();
    let before = ahead.map(|ahead| ahead.stage);
    let stages: Vec<&dyn Stage> = before.into_iter().chain([&stage as &dyn Stage]).collect();
    let sweep = Sweep { stages, shares: ahead.is_some_and(|ahead| ahead.shares) };
    let runs = on_threads(calibration.resources.threads, || {
        stage.rewrite_with_saved()?;
        sweep.run()
    })??;
    shown.0.stage_finished("calibrate");
    ahead.map_or(Ok(()), |ahead| (ahead.finish)())?;
    Ok(runs.into_iter().next_back().flatten())
}

/// Writes the files beside the weights and returns their hashes.
fn beside(plan: &Plan, staged: &Staged) -> Result<BTreeMap<String, String>, Error> {
    let index = |out: &mut dyn Write| plan.artifact.write_index(out);
    let files = FilesBeside {
        source: &plan.source,
        config: plan.config.as_deref(),
        index: plan.index_bytes.is_some().then_some(&index),
        side_files: plan.side_files(),
    };
    files.write(staged)
}

/// What must be equal for a run to go on from a journal: version, recipe, and the input's names,
/// sizes, headers and times of change.
fn identity(plan: &Plan) -> Result<String, Error> {
    let told = |error: serde_json::Error| Error::Refused(error.to_string());
    let mut text = format!("llmopt {}\n", env!("CARGO_PKG_VERSION"));
    text += &serde_json::to_string(&plan.recipe).map_err(told)?;
    if let Some(calibration) = &plan.calibration {
        text += &serde_json::to_string(&calibration.facts()).map_err(told)?;
        text += calibration.kernel();
    }
    text += &plan.artifact.identity(plan.source_state.as_deref())?;
    if let Some(config) = &plan.config {
        text += &format!("\nconfig {}", sha256(config));
    }
    Ok(sha256(text.as_bytes()))
}

/// Where the artifact goes: a bare file when a bare file came in.
fn output(source: &Source, target: &Target, recipe: &Recipe) -> Result<Output, Error> {
    let slashed = |path: &PathBuf| path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let wants_folder = source.wants_folder_output()
        || target.output.as_ref().is_some_and(|path| slashed(path) || path.is_dir());
    if wants_folder && source.config().is_none() {
        return Err(Error::RefusedWithHint {
            what: "a folder needs a `config.json`, and there is none beside the input".to_owned(),
            hint: "`-o NAME.safetensors` writes a bare file; runtimes need a folder with a config"
                .to_owned(),
        });
    }
    let bare = !wants_folder;
    let path = match &target.output {
        Some(path) => path.clone(),
        None => target.default_output(source.path(), recipe, bare).path()?,
    };
    Ok(Output { path, bare, force: target.force })
}
