//! A pruned model from start to end.

use crate::calibration::observed_data::ObservedData;
use crate::files_beside::FilesBeside;
use crate::handover::{Handover, Progress};
use crate::pruning::cut::Cut;
use crate::pruning::identity::identity;
use crate::pruning::journal::Records;
use crate::pruning::mixes::{alternatives, decided};
use crate::pruning::plan::PrunePlan;
use crate::pruning::read_back::read_back;
use crate::pruning::report::{PruneReport, Pruned};
use crate::pruning::sweep::Sweep;
use crate::pruning::write::Files;
use crate::staging::{BEGUN_ANEW, Candidates, Written};
use llmopt_checkpoint::{Output as Staged, REPORT_NAME};
use llmopt_data::in_batches;
use llmopt_model::{Variant, hash_finite};
use llmopt_run::{Cancel, Error, Events, on_threads};
use llmopt_sweep::Meter;
use std::collections::BTreeMap;
use std::io::Write;

/// Carries out a plan. The artifact gets its name last, after it was read back and verified.
///
/// # Errors
/// Nothing is left behind when the input or the request is at fault; after an interruption or a
/// failure of the system, the same plan goes on where it stopped.
pub fn prune(plan: &PrunePlan, events: &dyn Events, cancel: &Cancel) -> Result<PruneReport, Error> {
    led(plan, None, events, cancel)
}

/// The same, for a stage that follows block by block.
pub(crate) fn led(
    plan: &PrunePlan,
    handover: Option<&Handover>,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<PruneReport, Error> {
    plan.notes().iter().for_each(|note| events.note(note));
    let candidates =
        Candidates::begin(&plan.output, plan.all().map(PrunePlan::staging), alternatives())?;
    candidates.published(|staged| {
        let (best, report) = write_artifact(plan, staged, handover, events, cancel)?;
        // What follows reads the folder under its present name.
        handover.inspect(|handover| handover.written(Progress::All));
        let names = report.outputs.keys().cloned().chain([REPORT_NAME.to_owned()]).collect();
        Ok(Written { best, names, report })
    })
}

/// Writes the artifacts of all mixes of axes, and chooses: the number of the chosen one, and its report.
fn write_artifact(
    plan: &PrunePlan,
    staged: &[Staged],
    handover: Option<&Handover>,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<(usize, PruneReport), Error> {
    // What is not finite is found before the model is run on a token, and not where its layer is reached.
    let (source, model) = (plan.variant.source(), plan.variant.model());
    let read = hash_finite(source, model, plan.resources.threads, (events, cancel))?;
    if let Some(first) = staged.first()
        && first.holds_other_work(&identity(plan)?)?
    {
        events.note(BEGUN_ANEW);
    }
    let data = data(plan, events, cancel)?;
    let mut pruned = Vec::new();
    for (plan, staged) in plan.all().zip(staged) {
        pruned.push(swept(plan, staged, data.as_ref(), handover, events, cancel)?);
    }
    let decision = match (&plan.choice, &data) {
        (Some(choice), Some(data)) => {
            Some(decided(plan, choice, staged, &data.windows, plan.run(events, cancel))?)
        }
        _ => None,
    };
    let best = decision.as_ref().map_or(0, |decision| decision.best);
    let left_out = plan.left_out.clone();
    let (plan, staged) = plan.all().zip(staged).nth(best).expect("an artifact of each plan");
    let facts = data.map(|data| data.facts);
    let report = PruneReport::new(plan, pruned.swap_remove(best), facts, &read, decision);
    let report = PruneReport { left_out, ..report };
    staged.write_with(REPORT_NAME, |out| report.write(out))?;
    llmopt_verify::pruned(
        staged.partial_path(),
        plan.variant.model(),
        &plan.recipe.runtimes,
        cancel,
    )?;
    Ok((best, report))
}

/// Writes an artifact, but for its report.
fn swept(
    plan: &PrunePlan,
    staged: &Staged,
    data: Option<&ObservedData>,
    handover: Option<&Handover>,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Pruned, Error> {
    let identity = identity(plan)?;
    let (lines, journal) = staged.journal(&identity)?;
    let mut records = Records::new(&lines, journal);
    let windows = data.map(|data| plan.recipe.fitting(&data.windows));
    let cut = cut(plan, windows, &mut records, events, cancel)?;
    if !Files::are_whole(&cut.layout, staged) {
        records.forget_files();
    }
    let files = Files::create(&cut.layout, staged)?;
    let beside = beside(plan, &cut, staged)?;
    copied(plan, &cut, &files, &mut records, events, cancel)?;
    let written = Variant::open(staged.partial_path())?;
    handover.inspect(|handover| handover.opened(staged.partial_path(), &identity));
    let seen = windows.filter(|_| plan.recipe.sums());
    let batches = seen.map(|windows| in_batches(windows.to_vec(), false));
    let meter = Meter::new(events, plan.pruning(batches.as_ref()));
    let (written, files) = (&written, &files);
    let sweep = Sweep { plan, cut: &cut, written, files, handover, events, cancel, meter };
    let model = plan.variant.model();
    events.stage_started("prune", cut.groups.iter().map(|group| group.bytes(model)).sum());
    on_threads(plan.resources.threads, || match &batches {
        Some(batches) => sweep.observed(batches, &mut records),
        None => sweep.unobserved(&mut records),
    })??;
    events.stage_finished("prune");
    let threads = plan.resources.threads;
    events.stage_started("read back", cut.layout.shards.iter().map(|shard| shard.bytes).sum());
    let written = read_back(&cut.layout, files, &records, threads, (events, cancel))?;
    events.stage_finished("read back");
    Ok(Pruned { cut, records, written, beside })
}

/// The windows, after those are drawn that come from the model itself.
fn data(
    plan: &PrunePlan,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Option<ObservedData>, Error> {
    let Some(set) = &plan.set else { return Ok(None) };
    let (windows, facts) = set.clone().taken(&plan.variant, plan.run(events, cancel))?;
    Ok(Some(ObservedData { windows, facts }))
}

/// The plan's own cut, or where layers go, that of the layers that were found.
fn cut(
    plan: &PrunePlan,
    windows: Option<&[Vec<u32>]>,
    records: &mut Records,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Cut, Error> {
    let mut shape = plan.reached.shape.clone();
    if let (Some(search), Some(windows)) = (&plan.search, windows) {
        if records.layers().is_none() {
            let run = plan.run(events, cancel);
            records.add_layers(search.found(windows, &plan.variant, run)?)?;
        }
        let gone = records.layers().map(|found| &*found.gone).unwrap_or_default();
        let layers = 0..plan.variant.program().blocks.len();
        shape.layers = layers.filter(|layer| !gone.contains(layer)).collect();
    }
    Cut::new(&plan.variant, &plan.recipe, shape)
}

/// What stays as it is: the artifact is run while it is written, and needs all of it.
fn copied(
    plan: &PrunePlan,
    cut: &Cut,
    files: &Files<'_>,
    records: &mut Records,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<(), Error> {
    let plain = cut.layout.tensors().filter(|(_, tensor)| tensor.fate.is_plain());
    let bytes: u64 = plain.map(|(_, tensor)| tensor.meta.bytes()).sum();
    events.stage_started("copy", bytes);
    let shards = &cut.layout.shards;
    let done = (0..shards.len()).filter(|&shard| records.is_copied(shard));
    let done: u64 = done.map(|shard| shards[shard].plain_bytes()).sum();
    if done > 0 {
        events.passed_over(done as f64 / bytes as f64);
    }
    for shard in 0..cut.layout.shards.len() {
        if !records.is_copied(shard) {
            let prints = files.copy(shard, &plan.variant, plan.run(events, cancel))?;
            records.add_copied(shard, prints)?;
        }
    }
    events.stage_finished("copy");
    Ok(())
}

/// Writes the files beside the weights and returns their hashes.
fn beside(plan: &PrunePlan, cut: &Cut, staged: &Staged) -> Result<BTreeMap<String, String>, Error> {
    let index = cut.layout.index(plan.source());
    let write = |out: &mut dyn Write| out.write_all(index.as_deref().unwrap_or_default());
    let files = FilesBeside {
        source: plan.source(),
        config: Some(&cut.config),
        index: index.is_some().then_some(&write),
        side_files: plan.source().side_files(),
    };
    files.write(staged)
}
