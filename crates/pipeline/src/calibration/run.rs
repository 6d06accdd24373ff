//! A calibrated sweep carried out: windows first, then block after block.

use super::CalibrationFacts;
use super::own::Drawing;
use super::plan::Calibration;
use super::sweep::Sweep;
use crate::evaluation::on_threads;
use crate::resume::{Entry, Records};
use crate::{Cancel, Error, Events, Plan};
use llmopt_checkpoint::OutFile;
use std::sync::mpsc::Sender;

/// Rewrites what `calibration` reaches, and tells what it was observed on.
pub(crate) fn calibrated(
    plan: &Plan,
    calibration: &Calibration,
    files: &[OutFile],
    records: &Records,
    finished: Sender<Entry>,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<CalibrationFacts, Error> {
    let (windows, facts) = calibration.set.clone().taken(&calibration.drawing(events, cancel))?;
    let batches = calibration.batches(windows);
    let shown = (events, cancel);
    let sweep = Sweep::new(plan, calibration, &batches, files, records, finished, shown);
    events.stage_started("calibrate", sweep.bytes());
    on_threads(calibration.resources.threads, || sweep.run())??;
    events.stage_finished("calibrate");
    Ok(facts)
}

impl Calibration {
    fn drawing<'a>(&'a self, events: &'a dyn Events, cancel: &'a Cancel) -> Drawing<'a> {
        Drawing {
            variant: &self.variant,
            engine: &self.engine,
            resources: self.resources,
            scratch: &self.scratch,
            events,
            cancel,
        }
    }
}
