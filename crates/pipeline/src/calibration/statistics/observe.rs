//! One reading sweep over the original model: what every site sees, block after block.

use crate::calibration::statistics::plan::StatisticsPlan;
use crate::calibration::statistics::writer::StatisticsWriter;
use llmopt_arch::program::{Block, Phase, Tap};
use llmopt_calib::{InputSite, Needs, Observation};
use llmopt_run::{Cancel, Error, Events};
use llmopt_sweep::{Batches, Meter, Runner, Store, embedded};

/// A sweep under way.
pub(super) struct Sweep<'a> {
    pub(super) plan: &'a StatisticsPlan,
    pub(super) batches: &'a Batches,
    pub(super) events: &'a dyn Events,
    pub(super) cancel: &'a Cancel,
    pub(super) meter: Meter<'a>,
}

impl Sweep<'_> {
    /// Bytes of the weights that it goes through.
    pub(super) fn bytes(&self) -> u64 {
        self.plan.variant.program().blocks.iter().map(|block| self.bytes_of(block)).sum()
    }

    /// Writes what every site sees, and what it saw before.
    pub(super) fn run(&self, writer: &mut StatisticsWriter<'_>) -> Result<(), Error> {
        let StatisticsPlan { variant, blocks: sites, .. } = self.plan;
        let mut hidden = embedded(variant, self.batches, self.store()?)?;
        for (layer, (block, sites)) in variant.program().blocks.iter().zip(sites).enumerate() {
            for (number, phase) in block.phases.iter().enumerate() {
                let sites: Vec<&InputSite> =
                    sites.iter().filter(|site| site.phase == number).collect();
                self.observe(phase, &sites, &mut hidden, writer)?;
            }
            self.events.advanced(self.bytes_of(block), &format!("block {layer}"));
        }
        Ok(())
    }

    /// Takes the hidden states through a phase, and writes what its sites have seen.
    fn observe(
        &self,
        phase: &Phase,
        sites: &[&InputSite],
        hidden: &mut Store,
        writer: &mut StatisticsWriter<'_>,
    ) -> Result<(), Error> {
        let StatisticsPlan { variant, engine, merged, .. } = self.plan;
        let taps: Vec<Tap> = sites.iter().map(|site| site.tap).collect();
        let nothing = |site: &&InputSite| Observation::new(site.extent, self.needs());
        let mut observed: Vec<Observation> = sites.iter().map(nothing).collect();
        let weights = variant.weights(phase, engine.gemm())?;
        for batch in 0..self.batches.len() {
            let seen = self.runner().observe(phase, &weights, hidden, batch, &taps)?;
            for (sums, seen) in observed.iter_mut().zip(&seen) {
                sums.add(engine.gemm(), seen);
            }
        }
        drop(weights);
        engine.release();
        for (site, mut sums) in sites.iter().zip(observed) {
            merged.add_to(&mut sums, site, self.needs().gram)?;
            writer.add(site, &sums)?;
        }
        Ok(())
    }

    fn needs(&self) -> Needs {
        Needs { gram: self.plan.request.gram, ..Needs::default() }
    }

    fn runner(&self) -> Runner<'_> {
        let StatisticsPlan { variant, engine, .. } = self.plan;
        Runner {
            variant,
            batches: self.batches,
            engine,
            cancel: self.cancel,
            meter: &self.meter,
            times: 1.0,
        }
    }

    fn store(&self) -> Result<Store, Error> {
        let StatisticsPlan { variant, memory, request, .. } = self.plan;
        let folder = memory.spills.then_some(request.scratch.as_path());
        Store::new(variant.program(), self.batches, folder)
    }

    fn bytes_of(&self, block: &Block) -> u64 {
        block.phases.iter().map(|phase| self.plan.variant.stored_bytes(phase)).sum()
    }
}
