//! The calibrated sweep: block after block is observed as it was found, rewritten, and passed.

use crate::calibration::estimate::BlockWork;
use crate::calibration::observe::Observed;
use crate::calibration::plan;
use crate::calibration::plan::{Basis, Calibration};
use crate::calibration::statistics::saved::Saved;
use crate::handover::Progress;
use crate::place::Place;
use crate::plan::Plan;
use crate::resume::{Entry, Records};
use llmopt_arch::program::Block;
use llmopt_calib::InputSite;
use llmopt_checkpoint::{HeaderEntry, OutFile};
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error, Events};
use llmopt_sweep::{Batches, Meter, Work};
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

/// A sweep under way.
pub(crate) struct Sweep<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) calibration: &'a Calibration,
    pub(super) batches: &'a Batches,
    pub(super) files: &'a [OutFile],
    pub(super) records: &'a Records,
    pub(super) finished: Sender<Entry>,
    /// Every tensor that calibration quantizes.
    pub(super) spots: BTreeMap<String, Spot>,
    pub(super) events: &'a dyn Events,
    pub(super) cancel: &'a Cancel,
    /// What each block takes.
    works: Vec<BlockWork>,
    pub(super) meter: Meter<'a>,
}

/// Where a tensor is in the plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) shard: usize,
    pub(super) place: usize,
    /// The number of its first band among all bands.
    pub(super) first_band: usize,
}

impl<'a> Sweep<'a> {
    /// A sweep over these batches. Nothing happens yet.
    ///
    /// # Errors
    /// If the sites of a block cannot be found.
    pub(crate) fn new(
        plan: &'a Plan,
        calibration: &'a Calibration,
        batches: &'a Batches,
        files: &'a [OutFile],
        records: &'a Records,
        finished: Sender<Entry>,
        (events, cancel): (&'a dyn Events, &'a Cancel),
    ) -> Result<Self, Error> {
        let spots = spots(plan, calibration);
        let works = calibration.blocks_work(batches)?;
        let meter = Meter::new(events, works.iter().map(|work| work.all()).sum());
        Ok(Self {
            plan,
            calibration,
            batches,
            files,
            records,
            finished,
            spots,
            events,
            cancel,
            works,
            meter,
        })
    }

    /// Rewrites every matrix of the blocks that the plan quantizes. What `records` already knows is
    /// passed through as it was written.
    ///
    /// # Errors
    /// If the model cannot be read, computes NaN or infinity, or a fallback is forbidden.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let blocks = &self.variant().program().blocks;
        let Some(last) = blocks.iter().rposition(|block| self.is_open(block)) else {
            return Ok(());
        };
        if let Basis::Saved(saved) = &self.calibration.basis {
            return self.run_on(saved);
        }
        self.pass_over(blocks);
        let mut streams = self.embedded()?;
        for (number, block) in blocks[..=last].iter().enumerate() {
            self.plan.wait_for(Progress::Blocks(number + 1))?;
            for sites in self.passes(block)? {
                let observed = self.observed(block, &sites, &streams)?;
                for (site, observed) in sites.iter().zip(observed) {
                    self.rewrite(block, site, observed)?;
                    // What solvers worked in must not lie beside the next site's sums.
                    self.calibration.engine.release();
                }
            }
            if number < last {
                self.advance(block, &mut streams)?;
            }
        }
        Ok(())
    }

    /// Tells what of the blocks is done, and where this attempt goes on.
    fn pass_over(&self, blocks: &[Block]) {
        let done = |(block, work): (&Block, &BlockWork)| match self.is_open(block) {
            false => work.observing + work.rewriting,
            true => Work::default(),
        };
        let done: Work = blocks.iter().zip(&self.works).map(done).sum();
        let first = blocks.iter().position(|block| self.is_open(block));
        if let Some(first) = first.filter(|_| self.records.any_calibrated()) {
            self.meter.passed_over(done);
            self.events.resuming(&format!("layer {} of {}", first + 1, blocks.len()));
        }
    }

    /// Rewrites what is open with the sums that files have.
    fn run_on(&self, saved: &Saved) -> Result<(), Error> {
        for block in &self.variant().program().blocks {
            for site in self.open_sites(block)? {
                if self.cancel.is_cancelled() {
                    return Err(Error::Interrupted);
                }
                let fitted = saved.observation(&site, self.calibration.needs())?;
                self.rewrite(block, &site, Observed { fitted, held_out: None })?;
            }
        }
        Ok(())
    }

    /// Bytes of the matrices that it rewrites.
    pub(super) fn bytes(&self) -> u64 {
        self.spots.values().map(|&spot| self.place(spot).0.meta.bytes()).sum()
    }

    /// The sites of a block that are still to be rewritten, in passes whose sums fit together.
    fn passes(&self, block: &Block) -> Result<Vec<Vec<InputSite>>, Error> {
        Ok(self.calibration.in_passes(self.open_sites(block)?))
    }

    /// The sites of a block that are still to be rewritten.
    fn open_sites(&self, block: &Block) -> Result<Vec<InputSite>, Error> {
        let mut sites = plan::sites(block, |tensor| self.spots.contains_key(tensor))?;
        // A site that is done in part is done again: a method is chosen for all of its tensors.
        sites.retain(|site| !site.tensors.iter().all(|tensor| self.is_done(tensor)));
        Ok(sites)
    }

    fn is_open(&self, block: &Block) -> bool {
        let linears = block.phases.iter().flat_map(|phase| &phase.operations);
        let mut weights = linears.filter_map(|operation| Some(&operation.linear()?.weight));
        weights.any(|weight| self.spots.contains_key(weight) && !self.is_done(weight))
    }

    /// Whether a tensor is written whole, by this attempt or an earlier one.
    pub(super) fn is_done(&self, tensor: &str) -> bool {
        let spot = self.spots[tensor];
        let bands = spot.first_band..spot.first_band + self.place(spot).1.bands();
        self.records.knows(tensor) && bands.into_iter().all(|band| self.records.is_done(band))
    }

    /// The model that is observed and rewritten.
    pub(super) fn variant(&self) -> &'a Variant {
        self.plan.variant_of(self.calibration)
    }

    pub(super) fn batches(&self) -> &'a Batches {
        self.batches
    }

    pub(super) fn place(&self, spot: Spot) -> (&'a HeaderEntry, &'a Place) {
        let entry = &self.plan.source.shards()[spot.shard].header.tensors()[spot.place];
        (entry, &self.plan.shards[spot.shard].places[spot.place])
    }
}

/// Every matrix of the blocks that gets a scheme.
fn spots(plan: &Plan, calibration: &Calibration) -> BTreeMap<String, Spot> {
    let mut spots = BTreeMap::new();
    let mut first_band = 0;
    for (shard, planned) in plan.shards.iter().enumerate() {
        let entries = plan.source.shards()[shard].header.tensors();
        for (number, (place, entry)) in planned.places.iter().zip(entries).enumerate() {
            if place.scheme().is_some() && calibration.reaches(&entry.name) {
                spots.insert(entry.name.clone(), Spot { shard, place: number, first_band });
            }
            first_band += place.bands();
        }
    }
    spots
}
