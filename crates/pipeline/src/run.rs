//! A run from start to end: read this first.

use crate::calibration::block_runs::BlockRuns;
use crate::calibration::observed_data::ObservedData;
use crate::calibration::plan::Calibration;
use crate::calibration::run::calibrated;
use crate::calibration::smoothing::{self, PlannedSmoothing};
use crate::calibration::statistics::saved::resolved;
use crate::decision::PlannedDecision;
use crate::expected::verify_written;
use crate::files_beside::FilesBeside;
use crate::handover::Progress;
use crate::layout::write_index;
use crate::method::Method;
use crate::output_target::Target;
use crate::place::Action;
use crate::plan::{Output, Plan, Requested};
use crate::recipe::Recipe;
use crate::report::Report;
use crate::resume::{Entry, Records, identity, keep_journal};
use crate::staging::{BEGUN_ANEW, Candidates, Written, beside_name};
use crate::{select, sweep, too_small};
use llmopt_checkpoint::{OutFile, Output as Staged, Source};
use llmopt_model::{Checkpoint, Smoothing, nonfinite};
use llmopt_run::{Cancel, Error, Events, Resources};
use llmopt_tensor::Dtype;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;

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

/// The plan of an artifact, of those that it has to beat, and of the choice between them.
fn with_alternatives(requested: &Requested, resources: Resources) -> Result<Plan, Error> {
    let Requested { target, recipe, .. } = requested;
    let plan = planned(requested, target, &recipe.resolved(), resources)?;
    if recipe.method == Method::Auto && plan.judges_nothing() {
        return without_choice(requested, resources);
    }
    let alternatives = recipe.alternatives().into_iter().map(|alternative| {
        let path = beside_name(&plan.output, &alternative.method.to_string());
        let target = Target { output: Some(path), force: true, ..target.clone() };
        planned(requested, &target, &alternative, resources)
    });
    let alternatives = alternatives.collect::<Result<Vec<_>, _>>()?;
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
            hint: "`--calibrate FILE` gives them; `--calibrate self` draws them from the model"
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
    if plan.before.is_none() {
        plan.notes().iter().for_each(|note| events.note(note));
        plan.decision.iter().filter_map(PlannedDecision::note).for_each(|note| events.note(&note));
    }
    match (attempted(plan, events, cancel), &plan.requested) {
        (Err(Error::TooSmall(small)), Some(requested)) if plan.before.is_none() => {
            let mut requested = requested.clone();
            requested.small.extend(small);
            let plan =
                within(requested.resources, |resources| with_alternatives(&requested, resources))?;
            events.note("some matrices are too small to be quantized: starting over without them");
            quantize(&plan, events, cancel)
        }
        (done, _) => done,
    }
}

/// Carries out a plan, unless matrices turn out to be too small.
fn attempted(plan: &Plan, events: &dyn Events, cancel: &Cancel) -> Result<Report, Error> {
    let outputs = [plan].into_iter().chain(&plan.alternatives).map(Plan::staging);
    let candidates = Candidates::begin(&plan.output, outputs, Recipe::alternative_names())?;
    candidates.published(|staged| {
        let (best, report) = write_artifact(plan, staged, events, cancel)?;
        let files = plan.files().into_keys().map(str::to_owned);
        Ok(Written { best, names: files.chain([plan.report_name()]).collect(), report })
    })
}

/// Writes the artifact and its alternatives, and chooses: the number of the chosen one, and its report.
fn write_artifact(
    plan: &Plan,
    staged: &[Staged],
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<(usize, Report), Error> {
    if plan.smoothing.is_some() || plan.calibration.as_ref().is_some_and(Calibration::needs_all) {
        plan.wait_for(Progress::All)?;
    }
    refuse_nonfinite(plan, events, cancel)?;
    let data = plan.calibration.as_ref().map(|calibration| calibration.data(events, cancel));
    let data = data.transpose()?;
    let plans: Vec<&Plan> = [plan].into_iter().chain(&plan.alternatives).collect();
    if let Some(data) = &data {
        smoothed(&plans, data, (events, cancel))?;
    }
    let mut written = Vec::new();
    for (plan, staged) in plans.iter().zip(staged) {
        written.push(swept(plan, staged, data.as_ref(), events, cancel)?);
    }
    let decision = match (&plan.decision, &plan.calibration, &data) {
        (Some(planned), Some(calibration), Some(data)) => {
            Some(planned.decided(calibration, &plans, staged, data, (events, cancel))?)
        }
        _ => None,
    };
    let best = decision.as_ref().map_or(0, |decision| decision.best);
    let Swept { records, block_runs, read, written, beside } = written.swap_remove(best);
    let facts = data.map(|data| data.facts).filter(|_| plans[best].calibration.is_some());
    let report = Report::new(plans[best], &records, facts, &read, &written, beside);
    let report = Report { decision, ..report };
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
    let dense = plan.places().filter(|(_, place)| place.action == Action::Smooth);
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

/// What the sweeps would find after hours of observing is found before. What is being written meanwhile
/// cannot be looked at yet.
fn refuse_nonfinite(plan: &Plan, events: &dyn Events, cancel: &Cancel) -> Result<(), Error> {
    let is_late = plan.calibration.is_some() && plan.before.is_none();
    match is_late && !plan.recipe.allow_nonfinite {
        true => {
            let threads = plan.memory.workers;
            nonfinite::refused(&plan.source, &plan.model, true, threads, (events, cancel))
        }
        false => Ok(()),
    }
}

/// An artifact of which only the report is missing.
struct Swept {
    records: Records,
    block_runs: Option<BlockRuns>,
    /// The hash of each file that was read.
    read: Vec<String>,
    /// The hash of each file that was written.
    written: Vec<String>,
    /// Those of the files beside the weights.
    beside: BTreeMap<String, String>,
}

fn swept(
    plan: &Plan,
    staged: &Staged,
    data: Option<&ObservedData>,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Swept, Error> {
    let identity = identity(plan)?;
    if plan.requested.is_some() && staged.holds_other_work(&identity)? {
        events.note(BEGUN_ANEW);
    }
    let (lines, journal) = staged.journal(&identity)?;
    let files = files(plan, staged)?;
    let records = Records::resumed(plan, &lines);
    let before = records.bands_done();
    let (finished, inbox) = std::sync::mpsc::channel();
    let (block_runs, read) = std::thread::scope(|scope| {
        let keeper = scope.spawn(|| keep_journal(inbox, &files, journal));
        let done = rewritten(plan, data, (&files, &records, before), finished, (events, cancel));
        let kept = keeper.join().unwrap_or(Err(Error::Interrupted));
        // Without a journal the workers stop as if interrupted; why there is none is the better reason.
        kept.and(done)
    })?;
    events.stage_finished("rewrite");
    too_small::refused(plan, &records)?;
    events.stage_started("read back", plan.shards.iter().map(|shard| shard.bytes).sum());
    let written = sweep::read_back(plan, &files, &records, events, cancel)?;
    events.stage_finished("read back");
    let beside = beside(plan, staged)?;
    Ok(Swept { records, block_runs, read, written, beside })
}

/// What needs calibration first, then everything else. Returns how often blocks were run, and the hash of
/// each source shard.
fn rewritten(
    plan: &Plan,
    data: Option<&ObservedData>,
    (files, records, before): (&[OutFile], &Records, usize),
    finished: Sender<Entry>,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<(Option<BlockRuns>, Vec<String>), Error> {
    let block_runs = match (&plan.calibration, data) {
        (Some(calibration), Some(data)) => {
            let finished = finished.clone();
            calibrated(plan, calibration, data, files, records, finished, (events, cancel))?
        }
        _ => None,
    };
    plan.wait_for(Progress::All)?;
    events.stage_started("rewrite", plan.source.shards().iter().map(|s| s.bytes).sum());
    sweep::pass_over(plan, records, before > 0 && plan.calibration.is_none(), events);
    let read = sweep::rewrite(plan, files, records, finished, events, cancel)?;
    Ok((block_runs, read))
}

/// The weight files, at their full length, each with its header.
fn files(plan: &Plan, staged: &Staged) -> Result<Vec<OutFile>, Error> {
    let mut files = Vec::with_capacity(plan.shards.len());
    for (number, shard) in plan.shards.iter().enumerate() {
        let file = staged.create(&shard.name, shard.bytes)?;
        file.write_at(0, &shard.header(&plan.source.shards()[number])?)?;
        files.push(file);
    }
    Ok(files)
}

/// Writes the files beside the weights and returns their hashes.
fn beside(plan: &Plan, staged: &Staged) -> Result<BTreeMap<String, String>, Error> {
    let index = |out: &mut dyn Write| write_index(&plan.source, &plan.shards, out);
    let files = FilesBeside {
        source: &plan.source,
        config: plan.config.as_deref(),
        index: plan.index_bytes.is_some().then_some(&index),
        side_files: plan.side_files(),
    };
    files.write(staged)
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
