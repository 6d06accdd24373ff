//! A mixed artifact made: sums, choices, probes, the search, then what was found, solved for and judged.

use crate::calibration::observed_to;
use crate::job::followed_from;
use crate::mixed::finish::Finish;
use crate::mixed::plan::{MixedPlan, method_of_choices};
use crate::mixed::probe::{Composer, probed_with};
use crate::mixed::request::Goal;
use crate::mixed::search::Search;
use crate::mixed::table::{Known, Table, errors};
use crate::mixed::units::Choice;
use crate::recipe::{Calibrate, GroupSize};
use crate::report::Report;
use crate::run::quantize;
use llmopt_checkpoint::{Output as Staged, PendingFile, keep_in_folder, read_bytes};
use llmopt_data::{CalibrationRequest, CalibrationSource};
use llmopt_model::{Variant, model_state};
use llmopt_run::{Cancel, Error, Events};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Carries out a plan. The artifact gets its name last, and its report tells of the allocation.
///
/// # Errors
/// If the model cannot be read, or an artifact is not sound. After an interruption or a failure of the system, the
/// same plan goes on where it stopped.
pub fn quantize_mixed(
    plan: &MixedPlan,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Report, Error> {
    plan.notes().iter().for_each(|note| events.note(note));
    let staged = Staged::begin(plan.output(), plan.options())?;
    let identity = identity(plan)?;
    if staged.holds_other_work(&identity)? {
        events.note(BEGUN_ANEW);
    }
    drop(staged.journal(&identity)?);
    let work = Work { plan, folder: staged.partial_path().join(WORK), shown: (events, cancel) };
    keep_in_folder(&work.folder, |_| true)?;
    match work.done(&staged) {
        Ok((report, names)) => {
            staged.publish(&names)?;
            Ok(report)
        }
        Err(Error::Interrupted) => Err(Error::Paused),
        Err(error) => {
            if !error.is_resumable() {
                staged.discard()?;
            }
            Err(error)
        }
    }
}

/// What tells this work from any other: the bytes follow from it.
fn identity(plan: &MixedPlan) -> Result<String, Error> {
    let recipe = &plan.request.recipe;
    let sources = recipe.recipe.sources();
    Ok(json!({
        "work": "mixed precision",
        "version": env!("CARGO_PKG_VERSION"),
        "model": model_state(plan.variant.source())?,
        "asked": followed_from("quantize", recipe, sources)?,
    })
    .to_string())
}

/// A run under way.
pub(super) struct Work<'a> {
    pub(super) plan: &'a MixedPlan,
    /// Where everything lies until the artifact is complete.
    pub(super) folder: PathBuf,
    pub(super) shown: (&'a dyn Events, &'a Cancel),
}

impl Work<'_> {
    /// Puts the artifact into its staging folder; its report, and the names of its files.
    fn done(&self, staged: &Staged) -> Result<(Report, Vec<String>), Error> {
        let calibrate = self.statistics()?;
        let folders = self.choices(calibrate.as_ref())?;
        let of_choices =
            folders.iter().map(|folder| Variant::open(folder)).collect::<Result<_, _>>()?;
        let composer = Composer { plan: self.plan, of_choices, shown: self.shown };
        let table = self.table(&folders, &composer)?;
        let finish = Finish { work: self, table: &table };
        let (uniform, record) = finish.uniform(&folders)?;
        let candidates = &self.plan.candidates;
        let search = Search { composer: &composer, candidates, table: &table, tried: Vec::new() };
        let searched = match (candidates.goal(), candidates.goal_bytes()) {
            (Goal::Kld(limit), _) => search.below(limit)?,
            (_, goal) => search.within((goal.unwrap_or(u64::MAX), record))?,
        };
        finish.published(&searched, uniform, (record, staged))
    }

    /// What all choices are solved with: sums that are there, or are made now.
    fn statistics(&self) -> Result<Option<Calibrate>, Error> {
        let Some(calibrate) = &self.plan.calibrate else { return Ok(None) };
        let Some(statistics) = &self.plan.statistics else { return Ok(Some(calibrate.clone())) };
        let path = self.folder.join(STATISTICS);
        if !path.is_file() {
            self.shown.0.note("observing the model once, for all choices");
            observed_to(statistics, &path, self.shown)?;
        }
        let data = CalibrationRequest::new(vec![CalibrationSource::File { path, weight: 1.0 }]);
        Ok(Some(Calibrate { data, ..calibrate.clone() }))
    }

    /// The folder of an artifact for each choice.
    fn choices(&self, calibrate: Option<&Calibrate>) -> Result<Vec<PathBuf>, Error> {
        let candidates = &self.plan.candidates;
        let method = method_of_choices(&self.plan.request.recipe.recipe);
        let count = candidates.choices.len();
        let mut folders = Vec::new();
        for (number, &choice) in candidates.choices.iter().enumerate() {
            let folder = self.folder.join(choice.to_string());
            if !folder.is_dir() {
                self.shown.0.note(&format!("choice {} of {count}: {choice}", number + 1));
                let recipe = candidates.choice_recipe(choice, calibrate.cloned(), method);
                let plan = candidates.planned_at(&folder, &recipe)?;
                quantize(&plan, self.shown.0, self.shown.1)?;
            }
            folders.push(folder);
        }
        Ok(folders)
    }

    /// Errors of all choices, and what those of each unit cost.
    fn table(&self, folders: &[PathBuf], composer: &Composer<'_>) -> Result<Table, Error> {
        let candidates = &self.plan.candidates;
        let found = folders.iter().map(|folder| errors(folder)).collect::<Result<Vec<_>, _>>()?;
        let known = |(number, bytes): (usize, &Vec<Option<u64>>)| -> Vec<Option<Known>> {
            let tensors = &candidates.units[number].tensors;
            let with = |(choice, &bytes): (usize, &Option<u64>)| {
                let of = |tensor| found.get(choice).and_then(|found| found.get(tensor));
                let sum: f64 = tensors.iter().filter_map(of).sum();
                Some(Known { bytes: bytes?, error: sum / tensors.len().max(1) as f64 })
            };
            bytes.iter().enumerate().map(with).collect()
        };
        let units: Vec<_> = candidates.bytes.iter().enumerate().map(known).collect();
        let mut table = Table { units, probes: Vec::new() };
        let probed = probed_with(&table, self.near());
        let klds = self.probes(composer, &probed)?;
        table.probes = probed.into_iter().zip(klds).collect();
        Ok(table)
    }

    /// What probing found; by an earlier attempt, if it came so far.
    fn probes(&self, composer: &Composer<'_>, probed: &[usize]) -> Result<Vec<f64>, Error> {
        let path = self.folder.join(PROBES);
        if let Some(found) = kept(&path).filter(|found| found.len() == probed.len()) {
            return Ok(found);
        }
        let units = probed.len();
        self.shown.0.note(&format!("probing {units} units, each alone"));
        let found = composer.probes(probed)?;
        let text = json!(found).to_string();
        PendingFile::create(&path)?.publish(text.as_bytes())?;
        Ok(found)
    }

    /// The choice near what most units will get.
    fn near(&self) -> usize {
        let candidates = &self.plan.candidates;
        let usual = Choice { bits: 4, size: GroupSize::Auto };
        let most = candidates.uniform.first().copied().unwrap_or(usual).nominal_bits();
        let choices = candidates.choices.iter();
        choices.filter(|choice| choice.nominal_bits() <= most).count().saturating_sub(1)
    }
}

fn kept(path: &Path) -> Option<Vec<f64>> {
    serde_json::from_slice(&read_bytes(path, MOST_KEPT).ok()?).ok()
}

/// The folder of all that is removed in the end.
const WORK: &str = "choices";
const STATISTICS: &str = "statistics.safetensors";
const PROBES: &str = "probes.json";
/// Bytes of what is kept of probes, at most.
const MOST_KEPT: u64 = 64 << 20;
const BEGUN_ANEW: &str =
    "what another command has left of this output cannot be used: it begins anew";
