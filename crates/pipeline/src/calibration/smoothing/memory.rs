//! What finding scales takes, and what they take until the end of the run.

use crate::calibration::budget::CalibrationMemory;
use crate::calibration::plan::Calibration;
use crate::calibration::smoothing::plan::PlannedSmoothing;
use crate::calibration::statistics::budget::Demand;
use crate::calibration::statistics::saved::Saved;
use llmopt_arch::smoothing::SmoothingPair;
use llmopt_calib::{InputSite, Observation};
use llmopt_run::{Error, Resources, check_room};

impl PlannedSmoothing {
    /// Bytes that scales, gains and the names of their tensors take from the decision on.
    pub(crate) fn held_bytes(&self) -> u64 {
        let of = |pair: &SmoothingPair| {
            // Of the pair as planned and as scaled, of what is planned, and of what falls on a tensor.
            let names: usize = pair.readers.iter().map(|name| 4 * (name.len() + NAME_BYTES)).sum();
            pair.channels * BYTES_PER_CHANNEL + names
        };
        self.blocks.iter().flatten().map(of).sum::<usize>() as u64
    }

    /// What the sweep takes that finds scales.
    ///
    /// # Errors
    /// [`Error::Budget`] if the sums of a block do not fit beside what runs it, and a refusal if hidden
    /// states do not fit on the disk.
    pub(crate) fn sweep_memory(
        &self,
        calibration: &Calibration,
        resources: Resources,
    ) -> Result<CalibrationMemory, Error> {
        let program = calibration.variant.program();
        let blocks = program.blocks.iter().enumerate();
        let sites: Vec<Vec<InputSite>> =
            blocks.map(|(number, block)| self.sites(number, block)).collect();
        let batches = calibration.fitted_batches(calibration.placeholders());
        let merged = Saved::of(&[])?;
        let demand = Demand {
            variant: &calibration.variant,
            batches: &batches,
            engine: &calibration.engine,
            needs: self.smooth.needs(),
            merged: &merged,
        };
        // Maxima or sums of the columns of a reader, for each thread.
        let widest = self.blocks.iter().flatten().map(|pair| pair.channels).max().unwrap_or(0);
        let columns = ((resources.threads + 1) * widest * size_of::<f64>()) as u64;
        // The sums of a phase are in the plan; those of other phases wait for the end of the block.
        let sums = |sites: &Vec<InputSite>| -> u64 {
            sites.iter().map(|site| Observation::bytes(site.extent, self.smooth.needs())).sum()
        };
        let held = columns + sites.iter().map(sums).max().unwrap_or(0);
        let planned = beside(held, resources, |resources| demand.planned(&sites, resources));
        let memory = planned?.holding(held);
        let room = calibration.room_for(memory.spills, memory.hidden_bytes);
        check_room(&room, &calibration.scratch)?;
        Ok(memory)
    }
}

impl CalibrationMemory {
    /// With so many bytes beside it.
    pub(crate) fn holding(self, bytes: u64) -> Self {
        Self {
            predicted_peak: self.predicted_peak + bytes,
            smallest: self.smallest + bytes,
            budget: self.budget + bytes,
            ..self
        }
    }
}

/// Plans something beside which so many bytes are held.
///
/// # Errors
/// Those of `plan`; [`Error::Budget`] counts what is held.
pub(crate) fn beside<T>(
    held: u64,
    resources: Resources,
    plan: impl FnOnce(Resources) -> Result<T, Error>,
) -> Result<T, Error> {
    let Resources { memory, threads } = resources;
    plan(Resources { memory: memory.saturating_sub(held), threads }).map_err(|error| match error {
        Error::Budget { smallest, .. } => {
            Error::Budget { given: memory, smallest: smallest + held }
        }
        error => error,
    })
}

/// A scale as found, one as taken, and a gain.
const BYTES_PER_CHANNEL: usize = 12;
/// A name's string, and its place in a map.
const NAME_BYTES: usize = 128;
