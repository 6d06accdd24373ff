//! The default: several mixes of axes are pruned, and a reading sweep says which one gets the name.

use crate::choice::{Choice, choice_memory, choose};
use crate::pruning::mix::{JudgedMix, LeftOut, PlannedChoice, PruneDecision};
use crate::pruning::plan::{Fit, Opened, PrunePlan, planned};
use crate::pruning::recipe::{PruneRecipe, PruneRequest};
use crate::run::within;
use llmopt_arch::axes::Axis;
use llmopt_checkpoint::Output as Staged;
use llmopt_data::{beside_held_out, judges};
use llmopt_rewrite::beside_name;
use llmopt_run::{Error, Resources, check_room, known_bytes};
use llmopt_sweep::Run;

/// Decides everything that can be decided without reading a weight. Without axes, several mixes of them
/// are planned, and a choice between them.
///
/// # Errors
/// What cannot be done is refused here, and what is wrong with the input is named.
pub fn plan_prune(request: &PruneRequest, resources: Resources) -> Result<PrunePlan, Error> {
    let opened = Opened::of(request)?;
    within(resources, |resources| match request.recipe.axes.is_empty() {
        true => mixed(request, &opened, resources),
        false => planned(request, &opened, (request.recipe.clone(), Fit::All), 1, resources),
    })
}

/// The mixes that are tried, the preferred one first where numbers are equal.
const MIXES: [&[Axis]; 3] = [&[Axis::Ffn], &[Axis::Ffn, Axis::Heads], &[Axis::Ffn, Axis::Layers]];

/// What follows the output's name while a mix competes for it.
fn beside(axes: &[Axis]) -> String {
    names(axes).join("-")
}

/// What follows the output's name for each mix that may compete for it.
pub(super) fn candidates() -> impl Iterator<Item = String> {
    MIXES.iter().map(|axes| beside(axes))
}

/// Plans every mix that the model can have, and a trial of each: refitted to a part of the windows, with gate
/// and up projections left as they are. An eighth of the windows judges the trials, and only the mix of the
/// best is written in full. So many more windows than asked for are taken, where there are such, that as many
/// fit as would for one mix alone. Without data there is nothing to decide by, and it is the first.
///
/// # Errors
/// Those of the first mix, if the model can have none.
fn mixed(
    request: &PruneRequest,
    opened: &Opened,
    resources: Resources,
) -> Result<PrunePlan, Error> {
    let recipe = |axes: &[Axis]| PruneRecipe { axes: axes.to_vec(), ..request.recipe.clone() };
    let alone = |axes| planned(request, opened, (recipe(axes), Fit::All), 1, resources);
    if !request.recipe.observes() {
        return alone(MIXES[0]);
    }
    let (mut plans, mut left_out) = (Vec::new(), Vec::new());
    let mut first = None;
    for axes in MIXES {
        let mut recipe = recipe(axes);
        recipe.calibrate.held_out = true;
        recipe.calibrate.data.samples = beside_held_out(recipe.calibrate.data.samples);
        match tried(request, opened, recipe, resources) {
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
    let plan = among(plans, resources)?;
    Ok(PrunePlan { left_out, ..plan })
}

/// The plan of a mix, and of its trial.
fn tried(
    request: &PruneRequest,
    opened: &Opened,
    recipe: PruneRecipe,
    resources: Resources,
) -> Result<PrunePlan, Error> {
    let plans = 2 * MIXES.len() as u64;
    let brief = PruneRecipe { refine: 0, ..recipe.clone() };
    let trial = planned(request, opened, (brief, Fit::Part), plans, resources)?;
    let output = beside_name(&trial.output, &beside(&recipe.axes));
    let trial = PrunePlan { output, force: true, ..trial };
    let plan = planned(request, opened, (recipe, Fit::All), plans, resources)?;
    // The trial finds which layers go.
    Ok(PrunePlan { search: None, trial: Some(Box::new(trial)), ..plan })
}

/// The first plan, with the others as its alternatives.
fn among(plans: Vec<PrunePlan>, resources: Resources) -> Result<PrunePlan, Error> {
    let count = plans.len();
    let mut plans = plans.into_iter();
    let mut plan = plans.next().expect("several plans");
    let others: Vec<PrunePlan> = plans.collect();
    let all = plan.set.as_ref().map(|set| set.placeholders()).unwrap_or_default();
    let windows = judges(&all);
    if windows.is_empty() {
        return Err(Error::RefusedWithHint {
            what:
                "which axes are best is judged on windows that nothing is fitted to, and there is \
                   one window in all"
                    .to_owned(),
            hint: "more text, or `--axes`".to_owned(),
        });
    }
    let tokens: usize = all.iter().map(Vec::len).sum();
    // Headers of each plan's source and artifact are known besides, and every plan's windows.
    let (tensors, bytes) = plan.variant.names();
    let held = 3 * count as u64 * known_bytes(tensors, bytes)
        + ((1 + count) * tokens * size_of::<u32>()) as u64;
    let memory = choice_memory((&plan.variant, &plan.engine), count, &all, held, resources)?;
    plan.alternatives = others;
    let (mut peak, mut floor) = (memory.predicted_peak, memory.smallest);
    for taken in plan.all().chain(plan.trials()).map(|plan| &plan.memory) {
        (peak, floor) = (peak.max(taken.predicted_peak), floor.max(taken.smallest));
    }
    (plan.memory.predicted_peak, plan.memory.smallest) = (peak, floor);
    plan.choice = Some(PlannedChoice { windows: windows.len(), memory });
    check_room(&plan.scratch_room(), &plan.scratch)?;
    Ok(plan)
}

/// Judges trials that lie in their staging folders, on the windows that none of them has seen.
///
/// # Errors
/// If one cannot be run.
pub(super) fn decided(
    plan: &PrunePlan,
    choice: &PlannedChoice,
    staged: &[Staged],
    windows: &[Vec<u32>],
    run: Run<'_>,
) -> Result<PruneDecision, Error> {
    let Choice { klds, best } = choose(&plan.variant, staged, windows, &choice.memory, run)?;
    let mixes = plan.all().map(PrunePlan::mix).zip(klds);
    let candidates: Vec<JudgedMix> = mixes.map(|(mix, kld)| JudgedMix { mix, kld }).collect();
    let chosen = candidates[best].mix.axes.clone();
    Ok(PruneDecision { windows: choice.windows, candidates, chosen, best })
}

fn names(axes: &[Axis]) -> Vec<&'static str> {
    axes.iter().map(|axis| axis.name()).collect()
}
