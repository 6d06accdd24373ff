//! A pruned model from start to end.

use crate::calibration::observed_data::ObservedData;
use crate::pruning::cut::Cut;
use crate::pruning::depth::FoundLayers;
use crate::pruning::identity::identity;
use crate::pruning::mixes::{candidates, decided};
use crate::pruning::plan::PrunePlan;
use crate::pruning::report::{PruneReport, Pruned};
use crate::pruning::stage::PruneStage;
use llmopt_checkpoint::{Output as Staged, REPORT_NAME};
use llmopt_data::in_batches;
use llmopt_model::nonfinite::matters;
use llmopt_model::{Variant, hash_finite, refuse_not_finite};
use llmopt_rewrite::{
    BEGUN_ANEW, Band, BandRewriter, Boundary, Candidates, FileHashes, FilesBeside, Finished,
    Journal, Pass, Planned, Stage, Stored, Sweep, Written, how_made, made_from,
};
use llmopt_run::{Cancel, Error, Events, on_threads};
use serde_json::Value;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Carries out a plan. The artifact gets its name last, after it was read back and verified.
///
/// # Errors
/// Nothing is left behind when the input or the request is at fault; after an interruption or a
/// failure of the system, the same plan goes on where it stopped.
pub fn prune(plan: &PrunePlan, events: &dyn Events, cancel: &Cancel) -> Result<PruneReport, Error> {
    prune_ahead(plan, None, (events, cancel))
}

/// What goes through the blocks behind pruning, in the same sweep.
pub(crate) type Behind<'b> = dyn Fn(&Begun<'_>) -> Result<(), Error> + 'b;

/// The same, with a stage behind it in the sweep that prunes. A run of several artifacts has none.
pub(crate) fn prune_ahead(
    plan: &PrunePlan,
    behind: Option<&Behind<'_>>,
    shown: (&dyn Events, &Cancel),
) -> Result<PruneReport, Error> {
    plan.notes().iter().for_each(|note| shown.0.note(note));
    let outputs = [plan].into_iter().chain(plan.trials()).map(PrunePlan::staging);
    Candidates::begin(&plan.output, outputs, candidates())?.published(|staged| {
        let report = write_artifact(plan, staged, behind, shown)?;
        let files = report.envelope.outputs.keys().cloned();
        let names = files.chain([REPORT_NAME.to_owned()]).collect();
        Ok(Written { best: 0, names, report })
    })
}

/// Writes the artifact; of several mixes of axes that whose trial is the best.
fn write_artifact(
    plan: &PrunePlan,
    staged: &[Staged],
    behind: Option<&Behind<'_>>,
    shown: (&dyn Events, &Cancel),
) -> Result<PruneReport, Error> {
    let (events, cancel) = shown;
    // What is not finite is found before the model is run on a token, and not where its layer is reached.
    let (source, model) = (plan.variant.source(), plan.variant.model());
    let read = hash_finite(source, model, plan.resources.threads, shown)?;
    let (staged, trials) = staged.split_first().expect("a folder for the artifact");
    tell_if_begun_anew(plan, trials.first().unwrap_or(staged), events)?;
    let made_from = made_from(source, &read, events)?;
    let data = data(plan, events, cancel)?;
    let observed = Observed { data: data.as_ref(), read: &read, made_from: made_from.as_ref() };
    let (mut decision, mut layers) = (None, None);
    if let (Some(choice), Some(data)) = (&plan.choice, &data) {
        let mut tried = Vec::new();
        for (trial, staged) in plan.trials().zip(trials) {
            tried.push(swept(trial, staged, (observed, None), None, shown)?);
        }
        let run = plan.run(events, cancel);
        let found = decided(plan, choice, trials, &data.windows, run)?;
        layers = tried.swap_remove(found.best).layers;
        decision = Some(found);
    }
    let best = decision.as_ref().map_or(0, |decision| decision.best);
    let left_out = plan.left_out.clone();
    let plan = plan.all().nth(best).expect("a plan of each mix");
    let swept = swept(plan, staged, (observed, layers), behind, shown)?;
    let report = PruneReport::new(plan, swept.pruned(observed), decision);
    let report = PruneReport { left_out, ..report };
    staged.write_with(REPORT_NAME, |out| report.write(out))?;
    let (model, runtimes) = (plan.variant.model(), &plan.recipe.runtimes);
    llmopt_verify::pruned(staged.partial_path(), model, runtimes, cancel)?;
    Ok(report)
}

/// Tells if what an interrupted run has left in the folder of the first artifact cannot be used.
fn tell_if_begun_anew(plan: &PrunePlan, staged: &Staged, events: &dyn Events) -> Result<(), Error> {
    let first = plan.trials().next().unwrap_or(plan);
    if staged.holds_other_work(&identity(first)?)? {
        events.note(BEGUN_ANEW);
    }
    Ok(())
}

/// An artifact that is laid out, with everything in it that stays as it is.
pub(crate) struct Begun<'a> {
    pub(crate) stage: &'a dyn Stage,
    /// Ends it, once nothing of it is left to be rewritten.
    pub(crate) finish: &'a dyn Fn() -> Result<(), Error>,
    /// What its report will tell of how it was made, once it is ended.
    pub(crate) how_made: &'a dyn Fn() -> Result<Value, Error>,
    /// The folder that it is written in.
    pub(crate) folder: &'a Path,
    /// What tells this work from any other.
    pub(crate) identity: String,
}

/// What was found of the source before it is pruned.
#[derive(Clone, Copy)]
struct Observed<'a> {
    data: Option<&'a ObservedData>,
    /// The hash of each weight file.
    read: &'a [String],
    made_from: Option<&'a Value>,
}

/// An artifact of which only the report is missing.
struct Swept {
    cut: Cut,
    /// Which layers go, if any do.
    layers: Option<FoundLayers>,
    finished: Finished,
}

impl Swept {
    fn pruned<'a>(&'a self, observed: Observed<'a>) -> Pruned<'a> {
        Pruned {
            cut: &self.cut,
            layers: self.layers.as_ref(),
            records: &self.finished.records,
            hashes: &self.finished.hashes,
            data: observed.data.map(|data| &data.facts),
            made_from: observed.made_from,
        }
    }
}

/// Writes an artifact, but for its report; without the `layers` that a trial has found, if one has.
fn swept(
    plan: &PrunePlan,
    staged: &Staged,
    (observed, layers): (Observed<'_>, Option<FoundLayers>),
    behind: Option<&Behind<'_>>,
    shown: (&dyn Events, &Cancel),
) -> Result<Swept, Error> {
    let Observed { data, read, made_from } = observed;
    let identity = identity(plan)?;
    let mut journal = Journal::open(staged, &identity)?;
    let windows = data.map(|data| plan.fitting(&data.windows));
    let layers = match layers {
        Some(found) => Some(found),
        None => {
            let all = data.map(|data| plan.recipe.fitting(&data.windows));
            found_layers(plan, all, &mut journal, shown)?
        }
    };
    let cut = cut(plan, layers.as_ref())?;
    let boundary = Boundary::open(&cut.artifact, staged, journal, |planned| {
        !planned.tensor.treatment.is_plain()
    })?;
    let beside = beside(plan, &cut, staged)?;
    let copied = copied(plan, &boundary, shown);
    boundary.or_settled(copied)?;
    let written = Variant::open(staged.partial_path())?;
    let seen = windows.filter(|_| plan.recipe.sums()).unwrap_or_default();
    let batches = in_batches(seen.to_vec(), false);
    let stage = PruneStage::new((plan, &cut), (&boundary, &written), &batches, shown);
    let (model, hashes) = (plan.variant.model(), OnceCell::new());
    shown.0.stage_started("prune", cut.groups.iter().map(|group| group.bytes(model)).sum());
    stage.pass_over();
    let finish = || match hashes.get() {
        Some(_) => Ok(()),
        None => {
            shown.0.stage_finished("prune");
            boundary.settled(Ok(()))?;
            let found = boundary.read_back(plan.resources.threads, shown)?;
            hashes.set(found).map_err(|_| Error::Interrupted)
        }
    };
    let hashes_of =
        |written: Vec<String>| FileHashes { read: read.to_vec(), written, beside: beside.clone() };
    let how_made = || {
        let pruned = Pruned {
            cut: &cut,
            layers: layers.as_ref(),
            records: &boundary.records,
            hashes: &hashes_of(hashes.get().cloned().unwrap_or_default()),
            data: data.map(|data| &data.facts),
            made_from,
        };
        how_made(&PruneReport::new(plan, pruned, None))
    };
    if let Some(behind) = behind {
        let (stage, finish, how_made) = (&stage, &finish, &how_made);
        let begun = Begun { stage, finish, how_made, folder: staged.partial_path(), identity };
        boundary.or_settled(behind(&begun))?;
    }
    let done = on_threads(plan.resources.threads, || match batches.is_empty() {
        true => stage.prune_unobserved(),
        false => Sweep { stages: vec![&stage], shares: false }.run().map(drop),
    });
    boundary.or_settled(done.and_then(|done| done))?;
    finish()?;
    let hashes = hashes_of(hashes.into_inner().unwrap_or_default());
    Ok(Swept { layers, finished: Finished { records: boundary.records, hashes }, cut })
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

/// Which layers go, where some do.
fn found_layers(
    plan: &PrunePlan,
    windows: Option<&[Vec<u32>]>,
    journal: &mut Journal,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<Option<FoundLayers>, Error> {
    let (Some(search), Some(windows)) = (&plan.search, windows) else { return Ok(None) };
    if let Some(found) = journal.facts(LAYERS) {
        return Ok(Some(found));
    }
    let found = search.found(windows, &plan.variant, plan.run(events, cancel))?;
    journal.add_facts(LAYERS, &found)?;
    Ok(Some(found))
}

/// The plan's own cut, or where layers go, that of the layers that were found.
fn cut(plan: &PrunePlan, found: Option<&FoundLayers>) -> Result<Cut, Error> {
    let mut shape = plan.reached.shape.clone();
    if let Some(found) = found {
        let layers = 0..plan.variant.program().blocks.len();
        shape.layers = layers.filter(|layer| !found.gone.contains(layer)).collect();
    }
    Cut::new(&plan.variant, &plan.recipe, shape)
}

/// What stays as it is: the artifact is run while it is written, and needs all of it.
fn copied(
    plan: &PrunePlan,
    boundary: &Boundary<'_>,
    shown: (&dyn Events, &Cancel),
) -> Result<(), Error> {
    let is_plain = |planned: &Planned<'_>| planned.tensor.treatment.is_plain();
    let plain = boundary.plan.tensors().filter(is_plain);
    shown.0.stage_started("copy", plain.map(|planned| planned.named.meta.bytes()).sum());
    let workers = plan.resources.threads;
    let pass = Pass { takes: &is_plain, hashes: false, resumes: false, workers };
    boundary.rewrite(&pass, plan, shown)?;
    shown.0.stage_finished("copy");
    Ok(())
}

/// What stays as it is, looked at on the way.
impl BandRewriter for PrunePlan {
    fn rewritten<'b>(
        &self,
        band: &Band<'_>,
        bytes: &'b [u8],
        _: &mut Vec<f32>,
    ) -> Result<Stored<'b>, Error> {
        if matters(self.variant.model(), band.planned.origin)
            && let Some(entry) = band.plan.source_entry(&band.planned)
        {
            let source = band.plan.source_of(band.planned.shard);
            refuse_not_finite((source, entry), band.rows.start as u64, bytes)?;
        }
        Ok(Stored::lossless(vec![Cow::Borrowed(bytes)]))
    }
}

/// The name under which the journal keeps which layers go.
const LAYERS: &str = "layers that go";

/// Writes the files beside the weights and returns their hashes.
fn beside(plan: &PrunePlan, cut: &Cut, staged: &Staged) -> Result<BTreeMap<String, String>, Error> {
    let write = |out: &mut dyn Write| cut.artifact.write_index(out);
    let files = FilesBeside {
        source: plan.source(),
        config: Some(&cut.config),
        index: cut.has_index().then_some(&write),
        side_files: plan.source().side_files(),
    };
    files.write(staged)
}
