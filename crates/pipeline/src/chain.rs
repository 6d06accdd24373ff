//! Pruning and quantizing in one call: a list of two stages.

use crate::output_target::Target;
use crate::pruning::mixes::plan_prune;
use crate::pruning::plan::PrunePlan;
use crate::pruning::recipe::PruneRequest;
use crate::pruning::report::PruneReport;
use crate::pruning::run::{Begun, prune, prune_ahead};
use crate::recipe::Recipe;
use crate::report::Report;
use crate::run::{Ahead, attempted, plan, quantize, within};
use llmopt_run::{Cancel, Error, Events, Resources};
use std::cell::RefCell;
use std::path::Path;

/// What is made of a pruned model.
#[derive(Clone, Debug)]
pub struct Quantization {
    /// Where it goes; the pruned folder's name with the scheme appended, if there is no path.
    pub target: Target,
    /// Everything that decides its bytes.
    pub recipe: Recipe,
}

/// Prunes a model and quantizes what is left. Both artifacts stay, and are byte for byte what
/// [`prune`] and then [`quantize`] on its output make.
///
/// With axes named and quantization calibrated on texts, both go through the blocks in one sweep, if the
/// memory suffices: a phase is quantized as soon as it is pruned, and on the same windows the pruned
/// model's hidden states are carried once. What needs the pruned model whole comes after it: windows
/// drawn from it, scales of channels, the look for NaN that `allow_nonfinite` asks for, and everything
/// after a choice between mixes of axes.
///
/// # Errors
/// Those of either. If pruning succeeds and quantizing fails, the pruned artifact stays.
pub fn prune_and_quantize(
    request: &PruneRequest,
    quantization: &Quantization,
    resources: Resources,
    events: [&dyn Events; 2],
    cancel: &Cancel,
) -> Result<(PruneReport, Report), Error> {
    let recipe = &quantization.recipe;
    // The whole model takes no less than what is left of it: what cannot be is said before it is read.
    let (planned, target, bound) = within(resources, |resources| {
        let planned = plan_prune(request, resources)?;
        let target = quantization.target_behind(planned.output())?;
        let bound = plan(&request.model, &target, recipe, resources)?;
        Ok((planned, target, bound))
    })?;
    let chain = Chain { target, recipe, resources, events, cancel };
    match planned.in_one_sweep_with(&bound) {
        true => chain.in_one_sweep(&planned),
        false => chain.one_by_one(&planned),
    }
}

/// Two stages, the first of them planned.
struct Chain<'a> {
    target: Target,
    recipe: &'a Recipe,
    resources: Resources,
    events: [&'a dyn Events; 2],
    cancel: &'a Cancel,
}

impl Chain<'_> {
    fn one_by_one(&self, planned: &PrunePlan) -> Result<(PruneReport, Report), Error> {
        let pruned = prune(planned, self.events[0], self.cancel)?;
        Ok((pruned, self.quantized(planned.output())?))
    }

    fn in_one_sweep(&self, planned: &PrunePlan) -> Result<(PruneReport, Report), Error> {
        let made = RefCell::new(None);
        let behind = |begun: &Begun<'_>| match self.quantized_behind(begun) {
            // Both are kept for another attempt.
            Err(Error::Paused) => Err(Error::Interrupted),
            Err(error) if error.is_resumable() => Err(error),
            found => {
                made.replace(Some(found));
                Ok(())
            }
        };
        let pruned = prune_ahead(planned, Some(&behind), (self.events[0], self.cancel))?;
        match made.into_inner() {
            // Another attempt leaves the matrices out that are too small.
            None | Some(Err(Error::TooSmall(_))) => Ok((pruned, self.quantized(planned.output())?)),
            Some(made) => Ok((pruned, made?)),
        }
    }

    /// Quantizes what is being pruned.
    fn quantized_behind(&self, begun: &Begun<'_>) -> Result<Report, Error> {
        let plan = plan(begun.folder, &self.target, self.recipe, self.resources)?;
        let plan = plan.of_written(&begun.identity);
        let shown = (self.events[1], self.cancel);
        let context = begun.stage.context();
        // A stream that spills has no room for what another stage has it carry.
        let shares = context.spill.is_none() && plan.observes(context, shown)?;
        let Begun { stage, finish, how_made, .. } = *begun;
        let ahead = Ahead { stage, shares, finish, how_made };
        attempted(&plan, Some(&ahead), shown)
    }

    fn quantized(&self, pruned: &Path) -> Result<Report, Error> {
        let planned = plan(pruned, &self.target, self.recipe, self.resources)?;
        quantize(&planned, self.events[1], self.cancel)
    }
}

impl Quantization {
    /// Where it goes if the pruned model is `pruned`.
    fn target_behind(&self, pruned: &Path) -> Result<Target, Error> {
        let output = match &self.target.output {
            Some(output) => output.clone(),
            None => self.target.default_output(pruned, &self.recipe, false).path()?,
        };
        Ok(Target { output: Some(output), ..self.target.clone() })
    }
}
