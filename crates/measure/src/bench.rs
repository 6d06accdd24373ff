//! How fast models decode on this machine's processor, and what part of what its memory can do that is.
//!
//! Every run begins with an empty state: prompts of random tokens, which are for speed alone, then one token
//! after the other, the likeliest each time, whatever it is. Models are run in turn in one process, so that what
//! else the machine does falls on both, and what is told is the median of the runs. It never looks at what is
//! said.

mod bandwidth;
mod clock;
mod kernel_files;
mod plan;
mod prompts;
mod quality;
mod read;
mod request;
mod result;
mod run;
mod spread;
mod told;

pub use bandwidth::ReadBandwidth;
pub use quality::BenchedQuality;
pub use read::BytesPerToken;
pub use request::BenchRequest;
pub use result::{Bench, BenchMachine, BenchProtocol, BenchedBatch, BenchedModel};
pub use spread::Spread;

use crate::bench::plan::Plan;
use crate::bench::run::Measured;
use crate::compute;
use crate::generation::Loaded;
use llmopt_forward::Engine;
use llmopt_run::{Cancel, Error, Events, Resources, on_threads};

/// Measures how fast a model decodes and, beside it, the one that it is held against.
///
/// # Errors
/// If a model cannot be read, both do not fit in memory together, their vocabularies differ, or prompts are
/// longer than the context.
pub fn bench(
    request: &BenchRequest,
    resources: Resources,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Bench, Error> {
    let gemm = compute::gemm(request.precision, request.kernel, request.code_inputs)?;
    let engine = Engine::new(gemm);
    let plan = Plan::new(request, &engine, resources)?;
    on_threads(resources.threads, || {
        let before = plan.bandwidth(cancel)?;
        let measured = measured(&plan, events, cancel)?;
        let after = plan.bandwidth(cancel)?;
        told::told(&plan, &measured, before.with(after))
    })?
}

/// Loads the models, runs them, and lets go of them.
fn measured(plan: &Plan<'_>, events: &dyn Events, cancel: &Cancel) -> Result<Measured, Error> {
    let peak = kernel_files::Peak::begin();
    let load_average = kernel_files::load_average();
    let loaded = loaded(plan, events)?;
    let runs = run::runs(plan, &loaded, events, cancel)?;
    let weights = loaded.iter().map(Loaded::bytes).collect();
    Ok(Measured { weights, runs, load_average, peak_memory: peak.bytes() })
}

fn loaded<'a>(plan: &'a Plan<'_>, events: &dyn Events) -> Result<Vec<Loaded<'a>>, Error> {
    events.stage_started("load", plan.files_bytes());
    let loaded = plan.variants.iter().map(|variant| {
        let loaded = plan.loaded(variant)?;
        events.advanced(Plan::file_bytes(variant), &variant.name());
        Ok(loaded)
    });
    let loaded = loaded.collect::<Result<_, Error>>()?;
    events.stage_finished("load");
    Ok(loaded)
}
