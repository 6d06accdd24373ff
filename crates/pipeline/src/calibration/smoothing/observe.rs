//! The reading sweep over the original model that finds scales, block after block.

use crate::calibration::plan::Calibration;
use crate::calibration::smoothing::estimate::{adding, looking, phases};
use crate::calibration::smoothing::plan::PlannedSmoothing;
use crate::calibration::smoothing::recipe::Columns;
use llmopt_arch::program::{Block, Tap};
use llmopt_arch::smoothing::SmoothingPair;
use llmopt_calib::Observation;
use llmopt_model::{ScaledPair, band_rows};
use llmopt_run::{Cancel, Error, Events, on_threads};
use llmopt_sweep::count::weights;
use llmopt_sweep::{Batches, Meter, Runner, Store, embedded};
use rayon::prelude::*;

/// A sweep under way.
struct Sweep<'a> {
    planned: &'a PlannedSmoothing,
    calibration: &'a Calibration,
    batches: &'a Batches,
    events: &'a dyn Events,
    cancel: &'a Cancel,
    meter: Meter<'a>,
}

impl PlannedSmoothing {
    /// The pairs with their scales, from what the model computes on those of the windows that judge
    /// nothing.
    ///
    /// # Errors
    /// If the model cannot be read, or computes NaN or infinity.
    pub(crate) fn scaled(
        &self,
        calibration: &Calibration,
        windows: &[Vec<u32>],
        (events, cancel): (&dyn Events, &Cancel),
    ) -> Result<Vec<ScaledPair>, Error> {
        let batches = &calibration.fitted_batches(windows.to_vec());
        let meter = Meter::new(events, self.work_on(calibration, batches));
        let sweep = Sweep { planned: self, calibration, batches, events, cancel, meter };
        let blocks = &calibration.variant.program().blocks[..self.reached()];
        events.stage_started("smooth", blocks.iter().map(|block| sweep.bytes_of(block)).sum());
        let pairs = on_threads(calibration.resources.threads, || sweep.run(blocks))??;
        events.stage_finished("smooth");
        Ok(pairs)
    }
}

impl Sweep<'_> {
    fn run(&self, blocks: &[Block]) -> Result<Vec<ScaledPair>, Error> {
        let Calibration { variant, scratch, .. } = self.calibration;
        let spills = self.planned.memory.as_ref().is_some_and(|memory| memory.spills);
        let folder = spills.then_some(scratch.as_path());
        let store = Store::new(variant.program(), self.batches, folder)?;
        let mut hidden = embedded(variant, self.batches, store)?;
        let mut scaled = Vec::new();
        for (number, block) in blocks.iter().enumerate() {
            let observed = self.observed(number, block, &mut hidden)?;
            for (pair, seen) in self.planned.blocks[number].iter().zip(&observed) {
                let columns = self.columns(pair)?;
                scaled.push(ScaledPair::new(pair, self.planned.smooth.scales(seen, &columns)));
                self.meter.did(looking(self.calibration, pair));
            }
            self.events.advanced(self.bytes_of(block), &format!("block {number}"));
        }
        Ok(scaled)
    }

    /// What the channels of a block's pairs hold. The hidden states are taken along.
    fn observed(
        &self,
        number: usize,
        block: &Block,
        hidden: &mut Store,
    ) -> Result<Vec<Observation>, Error> {
        let Calibration { variant, engine, .. } = self.calibration;
        let (sites, needs) = (self.planned.sites(number, block), self.planned.smooth.needs());
        let mut observed: Vec<Observation> =
            sites.iter().map(|site| Observation::new(site.extent, needs)).collect();
        for (phase, shown) in phases(block, &sites) {
            let taps: Vec<Tap> = shown.iter().map(|&site| sites[site].tap).collect();
            let fetched = variant.weights(phase, engine.gemm())?;
            self.meter.did(weights(phase));
            for batch in 0..self.batches.len() {
                let seen = self.runner().observe(phase, &fetched, hidden, batch, &taps)?;
                for (&site, seen) in shown.iter().zip(&seen) {
                    observed[site].add(engine.gemm(), seen);
                    let tokens = self.batches.rows_of(batch);
                    self.meter.did(adding(self.calibration, &sites[site], tokens));
                }
            }
            drop(fetched);
            engine.release();
        }
        Ok(observed)
    }

    /// What the columns of all matrices hold that read the channels of a pair. Each matrix is summed up
    /// by itself, and sums are added in order, for any number of threads.
    fn columns(&self, pair: &SmoothingPair) -> Result<Columns, Error> {
        let mut all = self.planned.smooth.columns(pair.channels);
        for readers in pair.readers.chunks(rayon::current_num_threads().max(1)) {
            if self.cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            let found: Vec<Columns> = readers
                .par_iter()
                .map(|reader| self.columns_of(reader, pair.channels))
                .collect::<Result<_, _>>()?;
            found.iter().for_each(|columns| all.merge(columns));
        }
        Ok(all)
    }

    fn columns_of(&self, reader: &str, channels: usize) -> Result<Columns, Error> {
        let variant = &self.calibration.variant;
        let rows = variant.source().meta(reader).map_or(0, |meta| meta.shape()[0]);
        let mut columns = self.planned.smooth.columns(channels);
        let step = band_rows(channels);
        for first in (0..rows).step_by(step) {
            let band = first..(first + step).min(rows);
            columns.add_rows(&variant.rows(reader, band, channels)?);
        }
        Ok(columns)
    }

    fn runner(&self) -> Runner<'_> {
        let Calibration { variant, engine, .. } = self.calibration;
        let Self { batches, cancel, meter, .. } = self;
        Runner { variant, batches, engine, cancel, meter, times: 1.0 }
    }

    fn bytes_of(&self, block: &Block) -> u64 {
        block.phases.iter().map(|phase| self.calibration.variant.stored_bytes(phase)).sum()
    }
}
