//! Finding scales: what channels hold in the original model, and the columns of what reads them.

use crate::calibration::observing::Observing;
use crate::calibration::plan::Calibration;
use crate::calibration::smoothing::estimate::looking;
use crate::calibration::smoothing::plan::PlannedSmoothing;
use crate::calibration::smoothing::recipe::Columns;
use llmopt_arch::program::Block;
use llmopt_arch::smoothing::SmoothingPair;
use llmopt_calib::InputSite;
use llmopt_model::{ScaledPair, Variant, band_rows};
use llmopt_rewrite::Context;
use llmopt_run::{Cancel, Error, Events, on_threads};
use llmopt_sweep::{Meter, carried_width};
use rayon::prelude::*;

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
        let Calibration { variant, engine, scratch, resources, .. } = calibration;
        let batches = &calibration.fitted_batches(windows.to_vec());
        let blocks = &variant.program().blocks[..self.reached()];
        let sites = blocks.iter().enumerate().map(|(number, block)| self.sites(number, block));
        let sites: Vec<Vec<InputSite>> = sites.collect();
        let spills = self.memory.as_ref().is_some_and(|memory| memory.spills);
        let context = Context {
            batches,
            engine,
            cancel,
            meter: Meter::new(events, self.work_on(calibration, batches)),
            spill: spills.then_some(scratch.as_path()),
            width: carried_width(variant.program()),
        };
        let needs = self.smooth.needs();
        let observing = Observing { variant, context, sites: &sites, needs };
        let readers = Readers { planned: self, variant, cancel };
        let bytes = |block: &Block| variant.stored_bytes_of(block);
        let (mut seen, mut scaled) = (Vec::new(), Vec::new());
        events.stage_started("smooth", blocks.iter().map(bytes).sum());
        on_threads(resources.threads, || {
            observing.run(&mut |phase| {
                seen.extend(phase.sites.into_iter().map(|(_, sums)| sums));
                if !phase.is_last {
                    return Ok(());
                }
                for (pair, seen) in self.blocks[phase.block].iter().zip(seen.drain(..)) {
                    let scales = self.smooth.scales(&seen, &readers.columns(pair)?);
                    scaled.push(ScaledPair::new(pair, scales));
                    observing.context.meter.did(looking(calibration, pair));
                }
                let name = format!("block {}", phase.block);
                events.advanced(bytes(&blocks[phase.block]), &name);
                Ok(())
            })
        })??;
        events.stage_finished("smooth");
        Ok(scaled)
    }
}

/// The matrices that read channels.
struct Readers<'a> {
    planned: &'a PlannedSmoothing,
    variant: &'a Variant,
    cancel: &'a Cancel,
}

impl Readers<'_> {
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
        let variant = self.variant;
        let rows = variant.source().meta(reader).map_or(0, |meta| meta.shape()[0]);
        let mut columns = self.planned.smooth.columns(channels);
        let step = band_rows(channels);
        for first in (0..rows).step_by(step) {
            let band = first..(first + step).min(rows);
            columns.add_rows(&variant.rows(reader, band, channels)?);
        }
        Ok(columns)
    }
}
