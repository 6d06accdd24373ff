//! A calibrated sweep carried out: windows first, then block after block.

use crate::calibration::block_runs::BlockRuns;
use crate::calibration::observed_data::ObservedData;
use crate::calibration::plan::{Basis, Calibration};
use crate::calibration::sweep::Sweep;
use crate::plan::Plan;
use crate::resume::{Entry, Records};
use llmopt_checkpoint::OutFile;
use llmopt_run::{Cancel, Error, Events, on_threads};
use llmopt_sweep::Run;
use std::sync::mpsc::Sender;

/// Rewrites what `calibration` reaches. Tells how often the blocks were run, if they were.
pub(crate) fn calibrated(
    plan: &Plan,
    calibration: &Calibration,
    data: &ObservedData,
    files: &[OutFile],
    records: &Records,
    finished: Sender<Entry>,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<Option<BlockRuns>, Error> {
    let batches = calibration.batches(data.windows.clone());
    let shown = (events, cancel);
    let sweep = Sweep::new(plan, calibration, &batches, files, records, finished, shown)?;
    events.stage_started("calibrate", sweep.bytes());
    let runs = on_threads(calibration.resources.threads, || sweep.run())??;
    events.stage_finished("calibrate");
    Ok(runs)
}

impl Calibration {
    /// With what it is carried out.
    pub(crate) fn run<'a>(&'a self, events: &'a dyn Events, cancel: &'a Cancel) -> Run<'a> {
        let Self { engine, resources, scratch, .. } = self;
        Run { engine, resources: *resources, scratch, events, cancel }
    }

    /// Whether the whole model is read before the first block: to draw windows from it.
    pub(crate) fn needs_all(&self) -> bool {
        match &self.basis {
            Basis::Data(set) => set.own().is_some(),
            Basis::Saved(_) => true,
        }
    }

    /// The windows, after those are drawn that come from the model itself.
    pub(crate) fn data(&self, events: &dyn Events, cancel: &Cancel) -> Result<ObservedData, Error> {
        let (windows, facts) = match &self.basis {
            Basis::Data(set) => set.clone().taken(&self.variant, self.run(events, cancel))?,
            Basis::Saved(saved) => (Vec::new(), saved.facts()),
        };
        Ok(ObservedData { windows, facts })
    }
}
