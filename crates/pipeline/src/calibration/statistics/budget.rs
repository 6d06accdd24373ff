//! What observing a model for statistics holds in memory.

use crate::calibration::budget::{CalibrationMemory, Carried};
use crate::calibration::statistics::saved::Saved;
use llmopt_arch::program::{Phase, Tap};
use llmopt_calib::{InputSite, Needs, Observation};
use llmopt_forward::Engine;
use llmopt_model::Variant;
use llmopt_run::{Error, Resources, base_bytes};
use llmopt_sweep::{Batches, carried_width, phase_bytes, widest_band};

/// What decides it.
pub(in crate::calibration) struct Demand<'a> {
    pub(in crate::calibration) variant: &'a Variant,
    pub(in crate::calibration) batches: &'a Batches,
    pub(in crate::calibration) engine: &'a Engine,
    pub(in crate::calibration) needs: Needs,
    /// Sums that are added.
    pub(in crate::calibration) merged: &'a Saved,
}

impl Demand<'_> {
    /// Decides what is held: hidden states between phases, one phase, and the sums of its sites.
    ///
    /// # Errors
    /// [`Error::Budget`] if one phase of one block does not fit.
    pub(in crate::calibration) fn planned(
        &self,
        blocks: &[Vec<InputSite>],
        resources: Resources,
    ) -> Result<CalibrationMemory, Error> {
        let (tensors, names) = self.variant.names();
        let tokens = (self.batches.tokens() * size_of::<u32>()) as u64;
        // Headers: of the model, and of each file, with a name for each of three sums.
        let headers = 2 + 3 * self.merged.len();
        let base = base_bytes(headers * tensors, headers * names) + tokens;
        let program = self.variant.program();
        let reading = resources.threads as u64 * widest_band(program);
        let mut most = 0;
        for (block, sites) in program.blocks.iter().zip(blocks) {
            for (number, phase) in block.phases.iter().enumerate() {
                let sites = sites.iter().filter(|site| site.phase == number).collect();
                most = most.max(self.phase(phase, sites, resources.threads)?);
            }
        }
        let carried = Carried { width: carried_width(program), stores: 1, together: 1 };
        CalibrationMemory::planned((base, base + reading + most), carried, self.batches, resources)
    }

    /// A phase with its weights and the taps of its sites, and their sums.
    fn phase(&self, phase: &Phase, sites: Vec<&InputSite>, threads: usize) -> Result<u64, Error> {
        let (variant, engine) = (self.variant, self.engine);
        let batch = self.batches.shape_of(self.batches.largest());
        let taps: Vec<Tap> = sites.iter().map(|site| site.tap).collect();
        let running = phase_bytes(variant, phase, &batch, engine, &taps, threads)?;
        // A tap that is watched is handed over; one that a later phase takes, too, is copied.
        let copied = taps.iter().filter(|tap| phase.carried.contains(tap));
        let columns: usize = copied.map(|&tap| variant.program().width(tap)).sum();
        let copied = (columns * batch.tokens() * size_of::<f32>()) as u64;
        let adding = sites.iter().map(|site| {
            Observation::adding_bytes(engine.gemm(), site.extent, batch.tokens(), threads)
        });
        let sums = || sites.iter().map(|site| Observation::bytes(site.extent, self.needs));
        // One of them as a file has it, too, while it is merged.
        let merging = if self.merged.len() > 0 { sums().max().unwrap_or(0) } else { 0 };
        Ok(running + copied + adding.max().unwrap_or(0) + sums().sum::<u64>() + merging)
    }
}
