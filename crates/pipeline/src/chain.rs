//! Pruning and quantizing in one call.

use crate::handover::Handover;
use crate::output_target::Target;
use crate::pruning;
use crate::pruning::mixes::plan_prune;
use crate::pruning::recipe::PruneRequest;
use crate::pruning::report::PruneReport;
use crate::pruning::run::prune;
use crate::recipe::Recipe;
use crate::report::Report;
use crate::run::{plan, quantize};
use llmopt_run::{Cancel, Error, Events, Resources};
use std::path::Path;
use std::sync::Arc;
use std::thread;

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
/// With axes named, both go through the blocks in one sweep: a block is quantized as soon as it is
/// pruned, each stage with streams of its own and half of the memory. What needs the pruned model
/// whole waits for that: windows drawn from the model itself, the look for NaN that
/// `allow_nonfinite` asks for, and everything after a choice between mixes of axes.
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
    match request.recipe.axes.is_empty() || quantization.recipe.allow_nonfinite {
        true => one_by_one(request, quantization, resources, events, cancel),
        false => in_one_sweep(request, quantization, resources, events, cancel),
    }
}

fn one_by_one(
    request: &PruneRequest,
    quantization: &Quantization,
    resources: Resources,
    [first, second]: [&dyn Events; 2],
    cancel: &Cancel,
) -> Result<(PruneReport, Report), Error> {
    let planned = plan_prune(request, resources)?;
    let pruned = prune(&planned, first, cancel)?;
    let target = quantization.target_behind(planned.output())?;
    let planned = plan(planned.output(), &target, &quantization.recipe, resources)?;
    Ok((pruned, quantize(&planned, second, cancel)?))
}

fn in_one_sweep(
    request: &PruneRequest,
    quantization: &Quantization,
    resources: Resources,
    [first, second]: [&dyn Events; 2],
    cancel: &Cancel,
) -> Result<(PruneReport, Report), Error> {
    let planned = within_half(resources, |half| plan_prune(request, half))?;
    let target = quantization.target_behind(planned.output())?;
    let recipe = &quantization.recipe;
    // The whole model takes no less than what is left of it: what cannot be is said before it is read.
    within_half(resources, |half| plan(&request.model, &target, recipe, half))?;
    let handover = Arc::new(Handover::default());
    let follow = || {
        let _following = handover.following();
        let opened = handover.opening()?;
        let mut planned =
            within_half(resources, |half| plan(&opened.folder, &target, recipe, half))?;
        planned.follow(&handover);
        quantize(&planned, second, cancel)
    };
    let (pruned, quantized) = thread::scope(|scope| {
        let second = scope.spawn(follow);
        let mut leading = handover.leading();
        let pruned = pruning::led(&planned, Some(&handover), first, cancel);
        leading.kept = pruned.as_ref().map_or_else(Error::is_resumable, |_| true);
        drop(leading);
        (pruned, second.join())
    });
    let quantized = quantized.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Ok((pruned?, quantized?))
}

/// Plans one of two stages that are at work together: each has half of the memory.
fn within_half<T>(
    resources: Resources,
    plan: impl FnOnce(Resources) -> Result<T, Error>,
) -> Result<T, Error> {
    let Resources { memory, threads } = resources;
    plan(Resources { memory: memory / 2, threads }).map_err(|error| match error {
        Error::Budget { smallest, .. } => Error::Budget { given: memory, smallest: 2 * smallest },
        error => error,
    })
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
