//! The default: several mixes of axes are pruned, and a reading sweep says which one gets the name.

use crate::pruning::plan::{Opened, PrunePlan, planned};
use crate::pruning::recipe::{PruneRecipe, PruneRequest};
use crate::staging::beside_name;
use llmopt_arch::axes::Axis;
use llmopt_checkpoint::Output as Staged;
use llmopt_data::{beside_held_out, judges};
use llmopt_eval::Estimate;
use llmopt_measure::Divergences;
use llmopt_measure::judged;
use llmopt_measure::least;
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error, Events, Resources, check_room, known_bytes};
use llmopt_sweep::{self as sweep, ReadingMemory, judging};
use serde::Serialize;

/// Artifacts that compete with a plan's own, and how it is chosen among them.
pub(super) struct PlannedChoice {
    pub(super) rivals: Vec<PrunePlan>,
    /// Windows that judge. Nothing is fitted to them.
    windows: usize,
    pub(super) memory: ReadingMemory,
}

/// What a dry run shows of a choice.
#[derive(Clone, Debug, Serialize)]
pub struct ChoiceSummary {
    /// The mixes of axes, the preferred one first where numbers are equal.
    pub candidates: Vec<Mix>,
    /// Windows that judge.
    pub windows: usize,
    /// Memory that judging takes.
    pub memory: ReadingMemory,
}

/// A mix of axes, and the share of the blocks' parameters that it removes.
#[derive(Clone, Debug, Serialize)]
pub struct Mix {
    /// The axes.
    pub axes: Vec<&'static str>,
    /// The share.
    pub sparsity: f64,
}

/// A mix of axes that was not tried.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// The axes.
    pub axes: Vec<&'static str>,
    /// Why not.
    pub why: String,
}

/// What was decided, and by which numbers.
#[derive(Clone, Debug, Serialize)]
pub struct PruneDecision {
    /// Windows that it was decided on. Nothing was fitted to them.
    pub windows: usize,
    /// The mixes of axes, with what was lost.
    pub candidates: Vec<JudgedMix>,
    /// The axes of the one that was taken.
    pub chosen: Vec<&'static str>,
    /// Its number.
    #[serde(skip)]
    pub(super) best: usize,
}

/// A mix of axes that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct JudgedMix {
    /// The mix.
    #[serde(flatten)]
    pub mix: Mix,
    /// Mean KL divergence from the original model, in nats, with its 95 % interval.
    pub kld: Estimate,
}

/// The mixes that are tried, the preferred one first where numbers are equal.
const MIXES: [&[Axis]; 3] = [&[Axis::Ffn], &[Axis::Ffn, Axis::Heads], &[Axis::Ffn, Axis::Layers]];

/// What follows the output's name while a mix competes for it.
fn beside(axes: &[Axis]) -> String {
    names(axes).join("-")
}

/// What follows the output's name for each mix that may compete with the first.
pub(super) fn rivals() -> impl Iterator<Item = String> {
    MIXES[1..].iter().map(|axes| beside(axes))
}

/// Plans every mix that the model can have. An eighth of the windows judges them; so many more than asked
/// for are taken, where there are such, that as many fit as would for one mix alone. Without data there
/// is nothing to decide by, and it is the first.
///
/// # Errors
/// Those of the first mix, if the model can have none.
pub(super) fn mixed(
    request: &PruneRequest,
    opened: &Opened,
    resources: Resources,
) -> Result<PrunePlan, Error> {
    let recipe = |axes: &[Axis]| PruneRecipe { axes: axes.to_vec(), ..request.recipe.clone() };
    let alone = |axes| planned(request, opened, recipe(axes), 1, resources);
    if !request.recipe.observes() {
        return alone(MIXES[0]);
    }
    let (mut plans, mut left_out) = (Vec::new(), Vec::new());
    let mut first = None;
    for axes in MIXES {
        let mut recipe = recipe(axes);
        recipe.calibrate.held_out = true;
        recipe.calibrate.data.samples = beside_held_out(recipe.calibrate.data.samples);
        match planned(request, opened, recipe, MIXES.len() as u64, resources) {
            Ok(plan) => plans.push(plan),
            Err(error @ (Error::Refused(_) | Error::RefusedWithHint { .. })) => {
                left_out.push(LeftOut { axes: names(axes), why: error.to_string() });
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    match (plans.len(), first) {
        (0, Some(error)) => return Err(error),
        (1, _) => {
            let plan = alone(&plans[0].recipe.axes)?;
            return Ok(PrunePlan { left_out, ..plan });
        }
        _ => {}
    }
    let plan = PlannedChoice::among(plans, resources)?;
    Ok(PrunePlan { left_out, ..plan })
}

impl PlannedChoice {
    /// That it is decided by little, if it is.
    pub(super) fn note(&self) -> Option<String> {
        (self.windows == 1).then(|| {
            "one window is held out to choose the axes by, which is few: from 14 `--samples` on two are, \
             and beside 128 eighteen"
                .to_owned()
        })
    }

    /// The first plan, with the others as its rivals.
    fn among(plans: Vec<PrunePlan>, resources: Resources) -> Result<PrunePlan, Error> {
        let count = plans.len();
        let mut plans = plans.into_iter();
        let mut plan = plans.next().expect("several plans");
        let rivals: Vec<PrunePlan> = plans
            .map(|rival| {
                let output = beside_name(&plan.output, &beside(&rival.recipe.axes));
                PrunePlan { output, force: true, ..rival }
            })
            .collect();
        let all = plan.set.as_ref().map(|set| set.placeholders()).unwrap_or_default();
        let windows = judges(&all);
        if windows.is_empty() {
            return Err(Error::RefusedWithHint {
                what: "which axes are best is judged on windows that nothing is fitted to, and there is \
                       one window in all"
                    .to_owned(),
                hint: "more text, or `--axes`".to_owned(),
            });
        }
        let batches = judging(windows);
        let tokens: usize = all.iter().map(Vec::len).sum();
        // Headers of each plan's source and artifact are known besides, and every plan's windows.
        let (tensors, bytes) = plan.variant.names();
        let held = Divergences::bytes(&batches, count)
            + 2 * count as u64 * known_bytes(tensors, bytes)
            + ((1 + count) * tokens * size_of::<u32>()) as u64;
        // An artifact runs about the program of the original, which stands in for it until it is there.
        let variants = vec![&plan.variant; 1 + count];
        let memory = sweep::planned(&variants, &batches, &plan.engine, held, resources)?;
        let most = |of: fn(&PrunePlan) -> u64| rivals.iter().map(of).max().unwrap_or(0);
        let rivals_peak = most(|rival| rival.memory.predicted_peak);
        let rivals_smallest = most(|rival| rival.memory.smallest);
        let own = &mut plan.memory;
        own.predicted_peak = own.predicted_peak.max(rivals_peak).max(memory.predicted_peak);
        own.smallest = own.smallest.max(rivals_smallest).max(memory.smallest);
        let windows = windows.len();
        plan.choice = Some(Self { rivals, windows, memory });
        check_room(&plan.scratch_room(), &plan.scratch)?;
        Ok(plan)
    }

    pub(super) fn summary(&self, plan: &PrunePlan) -> ChoiceSummary {
        ChoiceSummary {
            candidates: plan.all().map(Mix::of).collect(),
            windows: self.windows,
            memory: self.memory.clone(),
        }
    }

    /// Judges artifacts that lie in their staging folders, on the windows that none of them has seen.
    ///
    /// # Errors
    /// If one cannot be run.
    pub(super) fn decided(
        &self,
        plan: &PrunePlan,
        staged: &[Staged],
        windows: &[Vec<u32>],
        (events, cancel): (&dyn Events, &Cancel),
    ) -> Result<PruneDecision, Error> {
        let mut variants = vec![plan.variant.clone()];
        for staged in staged {
            variants.push(Variant::open(staged.partial_path())?);
        }
        let run = plan.run(events, cancel);
        let klds = judged("decide", &variants, judges(windows), &self.memory, run)?;
        let mixes = plan.all().map(Mix::of).zip(klds);
        let candidates: Vec<JudgedMix> = mixes.map(|(mix, kld)| JudgedMix { mix, kld }).collect();
        let best = least(candidates.iter().map(|candidate| &candidate.kld));
        let chosen = candidates[best].mix.axes.clone();
        Ok(PruneDecision { windows: self.windows, candidates, chosen, best })
    }
}

impl Mix {
    fn of(plan: &PrunePlan) -> Self {
        Self { axes: plan.cut.axes(), sparsity: plan.reached.sparsity }
    }
}

fn names(axes: &[Axis]) -> Vec<&'static str> {
    axes.iter().map(|axis| axis.name()).collect()
}
