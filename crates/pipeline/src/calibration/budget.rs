//! What a calibrated sweep holds in memory, and what it puts aside.

use crate::calibration::cut::CutBlock;
use crate::calibration::needs::needs_of;
use crate::method::Method;
use llmopt_arch::program::Block;
use llmopt_calib::{InputSite, Needs, Observation, Segment};
use llmopt_forward::{Batch, Engine};
use llmopt_linalg::kept_bytes;
use llmopt_model::Variant;
use llmopt_quant::{Rounding, output_error_bytes};
use llmopt_run::{Error, Resources, base_bytes};
use llmopt_scheme::Scheme;
use llmopt_sweep::{Batches, ReadingMemory, carried_by, phase_bytes, widest_band};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a calibrated sweep will take, and the drawing of windows before it, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CalibrationMemory {
    /// A bound on resident memory.
    pub predicted_peak: u64,
    /// The bound asked for.
    pub budget: u64,
    /// The smallest bound that works.
    pub smallest: u64,
    /// Whether hidden states go to a scratch file.
    pub spills: bool,
    /// Bytes of hidden states and of the inputs of one site, in memory or in scratch files.
    pub hidden_bytes: u64,
    /// The most columns that a stream carries.
    #[serde(skip)]
    pub(super) width: usize,
    /// What is held while another stage works.
    #[serde(skip)]
    pub(crate) resting: u64,
}

/// What streams hold, in bytes.
pub(super) struct Carried {
    /// The most columns that one of them carries.
    pub(super) width: usize,
    /// How many there are.
    pub(super) stores: usize,
    /// How many of them are at work on a batch together.
    pub(super) together: usize,
}

impl CalibrationMemory {
    /// Decides whether streams spill, beside what is held in any case, of which `known` is all the time.
    ///
    /// # Errors
    /// [`Error::Budget`] if what is held and one batch do not fit.
    pub(super) fn planned(
        (known, held): (u64, u64),
        carried: Carried,
        batches: &Batches,
        resources: Resources,
    ) -> Result<Self, Error> {
        let Carried { width, stores, together } = carried;
        let of_token = (width * size_of::<f32>()) as u64;
        let hidden_bytes = stores as u64 * of_token * batches.tokens() as u64;
        let slots = together as u64 * of_token * batches.rows_of(batches.largest()) as u64;
        let smallest = held + slots;
        if smallest > resources.memory {
            return Err(Error::Budget { given: resources.memory, smallest });
        }
        let spills = held + hidden_bytes > resources.memory;
        Ok(Self {
            predicted_peak: held + if spills { slots } else { hidden_bytes },
            budget: resources.memory,
            smallest,
            spills,
            hidden_bytes,
            width,
            resting: known + if spills { 0 } else { hidden_bytes },
        })
    }

    /// With what is drawn before, if anything is.
    pub(super) fn after(self, drawing: Option<ReadingMemory>) -> Self {
        let Some(drawing) = drawing else { return self };
        Self {
            predicted_peak: self.predicted_peak.max(drawing.predicted_peak),
            smallest: self.smallest.max(drawing.smallest),
            ..self
        }
    }
}

/// What decides how much a sweep holds.
pub(super) struct Demand<'a> {
    pub(super) variant: &'a Variant,
    pub(super) batches: &'a Batches,
    pub(super) engine: &'a Engine,
    pub(super) methods: &'a [Method],
    pub(super) needs: Needs,
    /// Sums are kept twice: of the windows that are fitted, and of those that judge.
    pub(super) judges: bool,
    /// Sites are observed one after the other, each behind what is rewritten already.
    pub(super) sequential: bool,
    pub(super) threads: usize,
    /// The scheme of each tensor.
    pub(super) schemes: &'a BTreeMap<&'a str, Scheme>,
}

impl Demand<'_> {
    /// Decides what is held.
    ///
    /// # Errors
    /// [`Error::Budget`] if one segment of one block does not fit.
    pub(super) fn planned(
        &self,
        blocks: &[Vec<InputSite>],
        resources: Resources,
    ) -> Result<CalibrationMemory, Error> {
        let (tensors, names) = self.variant.names();
        let tokens = (self.batches.tokens() * size_of::<u32>()) as u64;
        // The files' headers are read twice: to run the model, and to rewrite it.
        let base = base_bytes(2 * tensors, 2 * names) + tokens;
        let program = self.variant.program();
        let batch = self.batches.shape_of(self.batches.largest());
        let (mut most, mut width) = (0, program.hidden);
        for (block, sites) in program.blocks.iter().zip(blocks) {
            let cut = CutBlock::new(block, sites.clone());
            for segment in &cut.segments {
                width = width.max(carried_by(program, &segment.phase));
                most = most.max(self.segment(&cut, segment, &batch)?);
            }
        }
        let streams = if self.needs.cross { 2 } else { 1 };
        // As the block was found, and again as it was written.
        let again = usize::from(!self.sequential);
        let carried = Carried { width, stores: streams + again, together: streams };
        let reading = self.threads as u64 * widest_band(program);
        CalibrationMemory::planned((base, base + reading + most), carried, self.batches, resources)
    }

    /// Decides what is held where nothing is run, because files have the sums: one site's, as they are
    /// added up and as a file has them.
    ///
    /// # Errors
    /// As [`Demand::planned`].
    pub(super) fn read_back(
        &self,
        blocks: &[Vec<InputSite>],
        files: usize,
        resources: Resources,
    ) -> Result<CalibrationMemory, Error> {
        let (tensors, names) = self.variant.names();
        // Headers: of the model, read twice, and of each file, with a name for each of three sums.
        let headers = 2 + 3 * files;
        let program = self.variant.program();
        let at_work = |(block, sites): (&Block, &Vec<InputSite>)| {
            let bytes = |site: &InputSite| self.moments(site) + self.rewriting(site, block);
            sites.iter().map(bytes).max().unwrap_or(0)
        };
        let most = program.blocks.iter().zip(blocks).map(at_work).max().unwrap_or(0);
        let reading = self.threads as u64 * widest_band(program);
        let smallest = base_bytes(headers * tensors, headers * names) + reading + most;
        if smallest > resources.memory {
            return Err(Error::Budget { given: resources.memory, smallest });
        }
        Ok(CalibrationMemory {
            predicted_peak: smallest,
            budget: resources.memory,
            smallest,
            spills: false,
            hidden_bytes: 0,
            width: 0,
            resting: smallest,
        })
    }

    /// The most that a segment takes beside what streams carry: first its weights, what is made while it
    /// runs and while sums are added up, then what rewriting takes. The sums of the site at its end are
    /// there all the time.
    fn segment(&self, cut: &CutBlock<'_>, segment: &Segment, batch: &Batch) -> Result<u64, Error> {
        let phase = &segment.phase;
        let running = phase_bytes(self.variant, phase, batch, self.engine, &[], self.threads)?;
        let Some(site) = cut.site_of(segment) else { return Ok(running) };
        let (gemm, tokens) = (self.engine.gemm(), batch.tokens());
        let adding = Observation::adding_bytes(gemm, site.extent, tokens, self.threads);
        Ok(self.moments(site) + (running + adding).max(self.rewriting(site, cut.block)))
    }

    /// What the sums of a site take.
    fn moments(&self, site: &InputSite) -> u64 {
        let times = if self.judges { 2 } else { 1 };
        times * Observation::bytes(site.extent, needs_of(site, self.needs))
    }

    /// The matrices of a site, their codes and values, and what the methods need for them.
    fn rewriting(&self, site: &InputSite, block: &Block) -> u64 {
        let linears = block.phases[site.phase].operations.iter().filter_map(|op| op.linear());
        let rows = linears.filter(|linear| site.tensors.contains(&linear.weight));
        let (mut all, mut tallest) = (0, 0);
        for linear in rows {
            all += linear.rows;
            tallest = tallest.max(linear.rows);
        }
        let elements = (all * site.extent.columns) as u64;
        let scheme = &self.schemes[site.tensors[0].as_str()];
        let (gemm, columns) = (self.engine.gemm(), site.extent.columns);
        let working = self
            .methods
            .iter()
            .map(|method| method.working_bytes(gemm, tallest, columns, scheme, self.threads));
        // Threads still keep what solving took.
        let judging = output_error_bytes(gemm, tallest, columns, self.threads)
            + kept_bytes(self.threads) as u64;
        let solves = self.methods.iter().any(|method| method.settings().is_some());
        let several = self.methods.len() > 1 && solves;
        // What a method has rounded, while another goes on from a copy.
        let kept = if several { Rounding::bytes(tallest, columns, scheme) } else { 0 };
        // Weights, codes by every method, those of one of them once more, and the values of one matrix.
        elements * (5 + self.methods.len() as u64)
            + (tallest * columns * size_of::<f32>()) as u64
            + (kept + working.max().unwrap_or(0)).max(judging)
    }
}
