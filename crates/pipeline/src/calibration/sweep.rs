//! The calibrated sweep: block after block, each run as far as a site, observed there, and rewritten
//! before it goes on.

use crate::calibration::block_runs::BlockRuns;
use crate::calibration::cut::CutBlock;
use crate::calibration::observe::Observed;
use crate::calibration::plan::{Basis, Calibration};
use crate::calibration::statistics::saved::Saved;
use crate::calibration::streams::Streams;
use crate::handover::Progress;
use crate::place::Place;
use crate::plan::Plan;
use crate::resume::{Entry, Records};
use llmopt_arch::program::Block;
use llmopt_calib::InputSite;
use llmopt_checkpoint::{HeaderEntry, OutFile};
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error, Events};
use llmopt_sweep::{Batches, Meter};
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
    pub(super) locations: BTreeMap<String, TensorLocation>,
    pub(super) events: &'a dyn Events,
    pub(super) cancel: &'a Cancel,
    pub(super) meter: Meter<'a>,
}

/// Where a tensor is in the plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct TensorLocation {
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
        let locations = locations(plan, calibration);
        let meter = Meter::new(events, calibration.blocks_work(batches)?.into_iter().sum());
        Ok(Self {
            plan,
            calibration,
            batches,
            files,
            records,
            finished,
            locations,
            events,
            cancel,
            meter,
        })
    }

    /// Rewrites every matrix of the blocks that the plan quantizes. What `records` already knows is
    /// passed through as it was written. Tells how often the blocks were run, if they were.
    ///
    /// # Errors
    /// If the model cannot be read, computes NaN or infinity, or a fallback is forbidden.
    pub(crate) fn run(&self) -> Result<Option<BlockRuns>, Error> {
        let blocks = &self.variant().program().blocks;
        let Some(last) = blocks.iter().rposition(|block| self.has_open(block)) else {
            return Ok(None);
        };
        if let Basis::Saved(saved) = &self.calibration.basis {
            self.run_on(saved)?;
            return Ok(None);
        }
        self.pass_over(blocks)?;
        let mut streams = self.embedded()?;
        for (number, block) in blocks[..=last].iter().enumerate() {
            self.plan.wait_for(Progress::Blocks(number + 1))?;
            self.pass_block(block, number == last, &mut streams)?;
        }
        Ok(streams.block_runs())
    }

    /// Takes the streams through a block, and rewrites what is open of it. Of the last block, nothing is
    /// run behind the last site.
    fn pass_block(&self, block: &Block, is_last: bool, streams: &mut Streams) -> Result<(), Error> {
        let cut = CutBlock::new(block, self.calibration.sites(block)?);
        let cut = if is_last { cut.up_to_last(|site| self.is_open(site)) } else { cut };
        if self.calibration.sequential || !self.has_open(block) {
            return self.pass_segments(&cut, false, streams);
        }
        // Every site sees the block as it was found, and what comes behind the block sees it rewritten.
        let before = self.copied(&streams.rewritten.store)?;
        self.pass_segments(&cut, true, streams)?;
        if !is_last {
            streams.rewritten.store = before;
            let original = streams.original.take();
            self.pass_segments(&cut, false, streams)?;
            streams.original = original;
        }
        Ok(())
    }

    fn pass_segments(
        &self,
        cut: &CutBlock<'_>,
        as_found: bool,
        streams: &mut Streams,
    ) -> Result<(), Error> {
        let mut segments = cut.segments.iter();
        segments.try_for_each(|segment| self.pass_segment(cut, segment, as_found, streams))
    }

    /// Tells what of the blocks is done, and where this attempt goes on.
    fn pass_over(&self, blocks: &[Block]) -> Result<(), Error> {
        let first = blocks.iter().position(|block| self.has_open(block));
        let Some(first) = first.filter(|_| self.records.any_calibrated()) else { return Ok(()) };
        let counting = self.calibration.calibrating();
        for block in blocks {
            let mut done = self.calibration.sites(block)?;
            done.retain(|site| !self.is_open(site));
            let works = done.iter().map(|site| counting.site(site, block, self.batches()));
            self.meter.passed_over(works.sum());
        }
        self.events.resuming(&format!("layer {} of {}", first + 1, blocks.len()));
        Ok(())
    }

    /// Rewrites what is open with the sums that files have.
    fn run_on(&self, saved: &Saved) -> Result<(), Error> {
        for block in &self.variant().program().blocks {
            for site in self.calibration.sites(block)?.iter().filter(|site| self.is_open(site)) {
                if self.cancel.is_cancelled() {
                    return Err(Error::Interrupted);
                }
                let fitted = saved.observation(site, self.calibration.needs())?;
                self.rewrite(block, site, Observed { fitted, held_out: None })?;
            }
        }
        Ok(())
    }

    /// Bytes of the matrices that it rewrites.
    pub(super) fn bytes(&self) -> u64 {
        self.locations.values().map(|&location| self.place(location).0.meta.bytes()).sum()
    }

    /// Whether a site is still to be rewritten. One that is done in part is done again: a method is chosen
    /// for all of its tensors.
    pub(super) fn is_open(&self, site: &InputSite) -> bool {
        !site.tensors.iter().all(|tensor| self.is_done(tensor))
    }

    /// Whether anything of a block is.
    fn has_open(&self, block: &Block) -> bool {
        let linears = block.phases.iter().flat_map(|phase| &phase.operations);
        let mut weights = linears.filter_map(|operation| Some(&operation.linear()?.weight));
        weights.any(|weight| self.locations.contains_key(weight) && !self.is_done(weight))
    }

    /// Whether a tensor is written whole, by this attempt or an earlier one.
    pub(super) fn is_done(&self, tensor: &str) -> bool {
        let location = self.locations[tensor];
        let bands = location.first_band..location.first_band + self.place(location).1.bands();
        self.records.knows(tensor) && bands.into_iter().all(|band| self.records.is_done(band))
    }

    /// The model that is observed and rewritten.
    pub(super) fn variant(&self) -> &'a Variant {
        self.plan.variant_of(self.calibration)
    }

    pub(super) fn batches(&self) -> &'a Batches {
        self.batches
    }

    pub(super) fn place(&self, location: TensorLocation) -> (&'a HeaderEntry, &'a Place) {
        let entry = &self.plan.source.shards()[location.shard].header.tensors()[location.place];
        (entry, &self.plan.shards[location.shard].places[location.place])
    }
}

/// Every matrix of the blocks that gets a scheme.
fn locations(plan: &Plan, calibration: &Calibration) -> BTreeMap<String, TensorLocation> {
    let mut locations = BTreeMap::new();
    let mut first_band = 0;
    for (shard, planned) in plan.shards.iter().enumerate() {
        let entries = plan.source.shards()[shard].header.tensors();
        for (number, (place, entry)) in planned.places.iter().zip(entries).enumerate() {
            if place.scheme().is_some() && calibration.reaches(&entry.name) {
                locations.insert(
                    entry.name.clone(),
                    TensorLocation { shard, place: number, first_band },
                );
            }
            first_band += place.bands();
        }
    }
    locations
}
