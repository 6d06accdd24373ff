//! One reading sweep over the original model: what every site sees, block after block.

use crate::calibration::budget::{in_passes, moments_bytes};
use crate::calibration::statistics::plan::StatisticsPlan;
use crate::calibration::statistics::writer::StatisticsWriter;
use llmopt_arch::program::Block;
use llmopt_calib::{InputSite, Needs, Observation, Watch, watches, whole};
use llmopt_run::{Cancel, Error, Events};
use llmopt_sweep::{Batches, Meter, Runner, Store, embedded};
use std::path::Path;

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
        let blocks = &self.plan.variant.program().blocks;
        let mut hidden = embedded(&self.plan.variant, self.batches, self.folder())?;
        for (number, (block, sites)) in blocks.iter().zip(&self.plan.blocks).enumerate() {
            self.observe(block, sites, &mut hidden, number + 1 == blocks.len(), writer)?;
            self.events.advanced(self.bytes_of(block), &format!("block {number}"));
        }
        Ok(())
    }

    /// Observes a block, in as many passes as its sums take. The last pass takes the hidden states
    /// along, unless there is nothing behind the block.
    fn observe(
        &self,
        block: &Block,
        sites: &[InputSite],
        hidden: &mut Store,
        is_last: bool,
        writer: &mut StatisticsWriter<'_>,
    ) -> Result<(), Error> {
        let mut passes = self.passes(sites);
        let last = passes.pop().unwrap_or_default();
        for sites in passes {
            let mut copy = hidden.copied(|| self.store())?;
            self.pass(&watches(block, &sites), &sites, &mut copy, writer)?;
        }
        let watched = if is_last { watches(block, &last) } else { whole(block, &last) };
        self.pass(&watched, &last, hidden, writer)
    }

    /// Runs what is watched on every batch, and writes what the sites have seen.
    fn pass(
        &self,
        watched: &[Watch],
        sites: &[InputSite],
        hidden: &mut Store,
        writer: &mut StatisticsWriter<'_>,
    ) -> Result<(), Error> {
        let gemm = self.plan.engine.gemm();
        let mut observed: Vec<Observation> =
            sites.iter().map(|site| Observation::new(site.extent, self.needs())).collect();
        for Watch { phase, taps, sites: numbers } in watched {
            let weights = self.plan.variant.weights(phase, gemm)?;
            for batch in 0..self.batches.len() {
                let seen = self.runner().observe(phase, &weights, hidden, batch, taps)?;
                for (&site, seen) in numbers.iter().zip(&seen) {
                    observed[site].add(gemm, seen);
                }
            }
            self.plan.engine.release();
        }
        for (site, seen) in sites.iter().zip(&mut observed) {
            self.plan.merged.add_to(seen, site, self.needs().gram)?;
            writer.add(site, seen)?;
        }
        Ok(())
    }

    fn passes(&self, sites: &[InputSite]) -> Vec<Vec<InputSite>> {
        let merges = self.plan.merged.len() > 0;
        let bytes = |site: &InputSite| moments_bytes(site, self.needs(), merges);
        in_passes(sites.to_vec(), self.plan.memory.room, false, bytes)
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

    fn folder(&self) -> Option<&Path> {
        self.plan.memory.spills.then_some(self.plan.request.scratch.as_path())
    }

    fn store(&self) -> Result<Store, Error> {
        Store::new(self.plan.variant.program(), self.batches, self.folder())
    }

    fn bytes_of(&self, block: &Block) -> u64 {
        block.phases.iter().map(|phase| self.plan.variant.stored_bytes(phase)).sum()
    }
}
