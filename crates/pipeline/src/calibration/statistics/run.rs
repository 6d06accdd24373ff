//! Statistics made: windows first, then one sweep, then the file gets its name.

use crate::calibration::observing::Observing;
use crate::calibration::statistics::described::ObservedRun;
use crate::calibration::statistics::identity::ModelIdentity;
use crate::calibration::statistics::plan::StatisticsPlan;
use crate::calibration::statistics::writer::StatisticsWriter;
use llmopt_arch::program::Block;
use llmopt_calib::Needs;
use llmopt_data::in_batches;
use llmopt_rewrite::Context;
use llmopt_run::{Cancel, Error, Events, on_threads};
use llmopt_sweep::{Meter, Run, Work, carried_width};
use serde::Serialize;
use std::path::Path;

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct StatisticsReport {
    /// `llmopt`.
    pub tool: &'static str,
    /// The version that ran.
    pub version: &'static str,
    /// The file.
    pub output: String,
    /// Its size.
    pub bytes: u64,
    /// The model.
    pub model: ModelIdentity,
    /// How many sites there are.
    pub sites: usize,
    /// Whether it has Gram matrices.
    pub gram: bool,
    /// Whose sums are added up.
    pub runs: Vec<ObservedRun>,
}

/// Carries out a plan.
///
/// # Errors
/// If the model cannot be read, or computes NaN or infinity. No file is left behind then.
pub fn observe_statistics(
    plan: &StatisticsPlan,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<StatisticsReport, Error> {
    observed_to(plan, &plan.request.output, (events, cancel))
}

/// The same, with the file at `output`.
pub(crate) fn observed_to(
    plan: &StatisticsPlan,
    output: &Path,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<StatisticsReport, Error> {
    plan.notes().iter().for_each(|note| events.note(note));
    let StatisticsPlan { engine, resources, request, .. } = plan;
    let run = Run { engine, resources: *resources, scratch: &request.scratch, events, cancel };
    let (windows, facts) = plan.set.clone().taken(&plan.variant, run)?;
    let described = plan.described(vec![plan.observed_run(facts)]);
    let (layout, runs) = (plan.layout(&described)?, described.runs.clone());
    let mut writer = StatisticsWriter::create(output, &layout, described)?;
    let batches = in_batches(windows, false);
    let StatisticsPlan { variant, memory, merged, .. } = plan;
    let context = Context {
        batches: &batches,
        engine,
        cancel,
        // Blocks are told of whole.
        meter: Meter::new(events, Work::default()),
        spill: memory.spills.then_some(request.scratch.as_path()),
        width: carried_width(variant.program()),
    };
    let needs = Needs { gram: request.gram, ..Needs::default() };
    let observing = Observing { variant, context, sites: &plan.blocks, needs };
    let blocks = &variant.program().blocks;
    let bytes = |block: &Block| variant.stored_bytes_of(block);
    events.stage_started("observe", blocks.iter().map(bytes).sum());
    on_threads(resources.threads, || {
        observing.run(&mut |phase| {
            for (site, mut sums) in phase.sites {
                merged.add_to(&mut sums, site, request.gram)?;
                writer.add(site, &sums)?;
            }
            if phase.is_last {
                let name = format!("block {}", phase.block);
                events.advanced(bytes(&blocks[phase.block]), &name);
            }
            Ok(())
        })
    })??;
    events.stage_finished("observe");
    writer.publish()?;
    Ok(StatisticsReport {
        tool: "llmopt",
        version: env!("CARGO_PKG_VERSION"),
        output: output.display().to_string(),
        bytes: layout.bytes,
        model: plan.identity.clone(),
        sites: plan.sites().count(),
        gram: plan.request.gram,
        runs,
    })
}
