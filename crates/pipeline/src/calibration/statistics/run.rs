//! Statistics made: windows first, then one sweep, then the file gets its name.

use crate::calibration::statistics::described::ObservedRun;
use crate::calibration::statistics::identity::ModelIdentity;
use crate::calibration::statistics::observe::Sweep;
use crate::calibration::statistics::plan::StatisticsPlan;
use crate::calibration::statistics::writer::StatisticsWriter;
use llmopt_data::in_batches;
use llmopt_run::{Cancel, Error, Events, on_threads};
use llmopt_sweep::Run;
use llmopt_sweep::{Meter, Work};
use serde::Serialize;

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
    plan.notes().iter().for_each(|note| events.note(note));
    let StatisticsPlan { engine, resources, request, .. } = plan;
    let run = Run { engine, resources: *resources, scratch: &request.scratch, events, cancel };
    let (windows, facts) = plan.set.clone().taken(&plan.variant, run)?;
    let described = plan.described(vec![plan.observed_run(facts)]);
    let (layout, runs) = (plan.layout(&described)?, described.runs.clone());
    let mut writer = StatisticsWriter::create(&plan.request.output, &layout, described)?;
    let batches = in_batches(windows, false);
    // Blocks are told of whole.
    let meter = Meter::new(events, Work::default());
    let sweep = Sweep { plan, batches: &batches, events, cancel, meter };
    events.stage_started("observe", sweep.bytes());
    on_threads(plan.resources.threads, || sweep.run(&mut writer))??;
    events.stage_finished("observe");
    writer.publish()?;
    Ok(StatisticsReport {
        tool: "llmopt",
        version: env!("CARGO_PKG_VERSION"),
        output: plan.request.output.display().to_string(),
        bytes: layout.bytes,
        model: plan.identity.clone(),
        sites: plan.sites().count(),
        gram: plan.request.gram,
        runs,
    })
}
