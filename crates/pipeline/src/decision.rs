//! Which of several artifacts of a model is the best as a whole: one reading sweep decides.

use crate::calibration::observed_data::ObservedData;
use crate::calibration::plan::Calibration;
use crate::choice::{Choice, choice_memory, choose};
use crate::method::Method;
use crate::plan::Plan;
use llmopt_checkpoint::Output as Staged;
use llmopt_data::judges;
use llmopt_eval::Estimate;
use llmopt_run::{Cancel, Disk, Error, Events, Resources, check_room, known_bytes};
use llmopt_sweep::ReadingMemory;
use serde::Serialize;

/// What was decided, and by which numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    /// Windows that it was decided on. Nothing was fitted to them.
    pub windows: usize,
    /// The artifacts, the preferred one first where numbers are equal.
    pub candidates: Vec<Candidate>,
    /// The number of the one that was taken.
    #[serde(skip)]
    pub(crate) best: usize,
    /// Its method.
    pub chosen: Method,
}

/// An artifact among which one was chosen.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// The method that made it.
    pub method: Method,
    /// Mean KL divergence from the original model, in nats, with its 95 % interval.
    pub kld: Estimate,
}

/// How it will be decided, before there is anything to judge.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedDecision {
    /// The methods whose artifacts are judged, the preferred one first where numbers are equal.
    pub methods: Vec<Method>,
    /// Windows that they are judged on.
    pub windows: usize,
    /// Bytes of the artifacts beside the first. They are removed, but for the one that is better.
    pub alternative_bytes: u64,
    /// Memory that it will take.
    pub memory: ReadingMemory,
    /// Room for hidden states on the disk.
    pub scratch: Disk,
}

impl PlannedDecision {
    /// That it is decided by little, if it is.
    pub fn note(&self) -> Option<String> {
        (self.windows == 1).then(|| {
            "one window is held out to choose the method by, which is few: from 16 `--samples` on two \
             are, and of 128 sixteen"
                .to_owned()
        })
    }

    /// Plans the choice between the artifacts of `plan` and of its alternatives; none, if it has none.
    ///
    /// # Errors
    /// [`Error::Budget`] if the models cannot be read side by side, and a refusal if hidden states do
    /// not fit on the disk.
    pub(crate) fn new(
        plan: &Plan,
        alternatives: &[Plan],
        resources: Resources,
    ) -> Result<Option<Self>, Error> {
        let Some(calibration) = plan.calibration.as_ref().filter(|_| !alternatives.is_empty())
        else {
            return Ok(None);
        };
        let plans: Vec<&Plan> = [plan].into_iter().chain(alternatives).collect();
        let windows = calibration.placeholders();
        let held = beside(&plans, &windows) + plan.smoothing_bytes();
        let original = (&calibration.variant, &calibration.engine);
        let memory = choice_memory(original, plans.len(), &windows, held, resources)?;
        let scratch = calibration.room_for(memory.spills, memory.hidden_bytes);
        check_room(&scratch, &calibration.scratch)?;
        let methods = plans.iter().map(|plan| plan.recipe.method).collect();
        let windows = judges(&windows).len();
        let alternative_bytes =
            alternatives.iter().map(|alternative| alternative.files().values().sum::<u64>()).sum();
        Ok(Some(Self { methods, windows, alternative_bytes, memory, scratch }))
    }

    /// Judges artifacts that lie in their staging folders, on the windows that none of them has seen.
    ///
    /// # Errors
    /// If one cannot be run.
    pub(crate) fn decided(
        &self,
        calibration: &Calibration,
        staged: &[Staged],
        data: &ObservedData,
        (events, cancel): (&dyn Events, &Cancel),
    ) -> Result<Decision, Error> {
        let (original, run) = (&calibration.variant, calibration.run(events, cancel));
        let Choice { klds, best } = choose(original, staged, &data.windows, &self.memory, run)?;
        let methods = self.methods.iter().copied();
        let candidates: Vec<Candidate> =
            methods.zip(klds).map(|(method, kld)| Candidate { method, kld }).collect();
        let chosen = candidates[best].method;
        Ok(Decision { windows: self.windows, candidates, best, chosen })
    }
}

/// Bytes beside what is counted for the original and for each artifact as if it were the original:
/// these are the headers of the original and of each plan's source. There are those of the artifacts,
/// too, and of what was calibrated, and all windows, which each calibration has besides.
fn beside(plans: &[&Plan], windows: &[Vec<u32>]) -> u64 {
    let calibrations = || plans.iter().filter_map(|plan| plan.calibration.as_ref());
    let artifacts = plans.iter().map(|plan| plan.names());
    let models = calibrations().map(|calibration| calibration.variant.names());
    let known = artifacts.chain(models).map(|(tensors, names)| known_bytes(tensors, names));
    let tokens: usize = windows.iter().map(Vec::len).sum();
    known.sum::<u64>() + ((1 + calibrations().count()) * tokens * size_of::<u32>()) as u64
}
