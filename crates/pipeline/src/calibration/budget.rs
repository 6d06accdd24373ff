//! What a calibrated sweep holds in memory, what it puts aside, and in how many passes it looks.

use crate::calibration::observe::needs_of;
use crate::method::Method;
use llmopt_arch::program::{Block, Phase};
use llmopt_calib::{InputSite, Needs, Observation, Watch, watches, whole};
use llmopt_forward::{Batch, Engine};
use llmopt_linalg::kept_bytes;
use llmopt_model::Variant;
use llmopt_quant::output_error_bytes;
use llmopt_run::{Error, Resources, base_bytes};
use llmopt_scheme::Scheme;
use llmopt_sweep::{Batches, ReadingMemory, carried_width, phase_bytes, widest_band};
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
    /// Bytes of hidden states, in memory or in scratch files.
    pub hidden_bytes: u64,
    /// The most times that a block is run to observe all of it.
    pub passes: usize,
    /// Room for the sums of the sites that are observed together.
    #[serde(skip)]
    pub(super) room: u64,
}

impl CalibrationMemory {
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
    /// None, where nothing is rewritten.
    pub(super) methods: &'a [Method],
    pub(super) needs: Needs,
    /// Sums are kept twice: of the windows that are fitted, and of those that judge; or in memory and
    /// as a file has them.
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
    /// [`Error::Budget`] if one site of one block does not fit.
    pub(super) fn planned(
        &self,
        blocks: &[Vec<InputSite>],
        resources: Resources,
    ) -> Result<CalibrationMemory, Error> {
        let (tensors, names) = self.variant.names();
        let tokens = (self.batches.tokens() * size_of::<u32>()) as u64;
        // The files' headers are read twice: to run the model, and to rewrite it.
        let base = base_bytes(2 * tensors, 2 * names) + tokens;
        let width = (carried_width(self.variant.program()) * size_of::<f32>()) as u64;
        let stores = if self.needs.cross { 4 } else { 2 };
        let hidden = stores * width * self.batches.tokens() as u64;
        let slots = stores * width * self.batches.rows_of(self.batches.largest()) as u64;
        let work = self.work(blocks)?;
        let sites = || blocks.iter().flatten();
        let largest = sites().map(|site| self.moments(site)).max().unwrap_or(0);
        let smallest = base + slots + work + largest;
        if smallest > resources.memory {
            return Err(Error::Budget { given: resources.memory, smallest });
        }
        let spills = base + hidden + work + largest > resources.memory;
        let held = base + work + if spills { slots } else { hidden };
        let room = resources.memory - held;
        let all = |sites: &Vec<InputSite>| sites.iter().map(|site| self.moments(site)).sum();
        let most: u64 = blocks.iter().map(all).max().unwrap_or(0);
        let passes = blocks.iter().map(|sites| {
            in_passes(sites.clone(), room, self.sequential, |site| self.moments(site)).len()
        });
        Ok(CalibrationMemory {
            predicted_peak: held + most.min(room),
            budget: resources.memory,
            smallest,
            spills,
            hidden_bytes: hidden,
            passes: passes.max().unwrap_or(0),
            room,
        })
    }

    /// Decides what is held where nothing is run, because files have the sums: one site's.
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
            passes: 0,
            room: most,
        })
    }

    /// What the sums of a site take.
    fn moments(&self, site: &InputSite) -> u64 {
        moments_bytes(site, self.needs, self.judges)
    }

    /// The most that is at work at a time, beside streams and sums.
    fn work(&self, blocks: &[Vec<InputSite>]) -> Result<u64, Error> {
        let batch = self.batches.shape_of(self.batches.largest());
        let program = self.variant.program();
        let reading = self.threads as u64 * widest_band(program);
        let mut most = 0;
        for (block, sites) in program.blocks.iter().zip(blocks) {
            most = most.max(self.observing(block, sites, &batch)?);
            for phase in &block.phases {
                most = most.max(self.phase(phase, &batch)?);
            }
            let rewriting = sites.iter().map(|site| self.rewriting(site, block));
            most = most.max(rewriting.max().unwrap_or(0));
        }
        Ok(reading + most)
    }

    fn phase(&self, phase: &Phase, batch: &Batch) -> Result<u64, Error> {
        phase_bytes(self.variant, phase, batch, self.engine, &[], self.threads)
    }

    /// A phase with its watched taps, those of the original's stream beside them, and the sums' work.
    fn observing(&self, block: &Block, sites: &[InputSite], batch: &Batch) -> Result<u64, Error> {
        let (mut most, engine) = (0, self.engine);
        let watched = match self.methods {
            [] => whole(block, sites),
            _ => watches(block, sites),
        };
        for Watch { phase, taps, sites: numbers } in watched {
            let running = phase_bytes(self.variant, &phase, batch, engine, &taps, self.threads)?;
            // Two streams may have weights of their own.
            let second = if self.needs.cross && self.sequential { running } else { 0 };
            let extents = || numbers.iter().map(|&site| sites[site].extent);
            let bytes = |columns: usize| (columns * batch.tokens() * size_of::<f32>()) as u64;
            let program = self.variant.program();
            // A tap that is watched is handed over, and counted where it was made. One that a later
            // phase takes, too, is copied.
            let carried = taps.iter().filter(|tap| phase.carried.contains(tap));
            let copied = bytes(carried.map(|&tap| program.width(tap)).sum());
            // What one stream showed lies beside the run of the other.
            let seen = bytes(extents().map(|extent| extent.columns).sum());
            let beside =
                if self.needs.cross { seen + copied + 2 * bytes(program.hidden) } else { 0 };
            let (gemm, tokens) = (engine.gemm(), batch.tokens());
            let adding = extents()
                .map(|extent| Observation::adding_bytes(gemm, extent, tokens, self.threads));
            most = most.max(running + second + copied + beside + adding.max().unwrap_or(0));
        }
        Ok(most)
    }

    /// The matrices of a site, their codes and values, and what the methods need for them.
    fn rewriting(&self, site: &InputSite, block: &Block) -> u64 {
        if self.methods.is_empty() {
            return 0;
        }
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
        // Weights, codes, and the values of one of them.
        elements * 6
            + (tallest * site.extent.columns * size_of::<f32>()) as u64
            + working.max().unwrap_or(0).max(judging)
    }
}

/// What the sums of a site take; twice, where some windows are held out.
pub(super) fn moments_bytes(site: &InputSite, needs: Needs, judges: bool) -> u64 {
    let times = if judges { 2 } else { 1 };
    times * Observation::bytes(site.extent, needs_of(site, needs))
}

/// Sites in passes whose sums fit `room` together: in their order or, in a sequential run, level by
/// level.
pub(super) fn in_passes(
    sites: Vec<InputSite>,
    room: u64,
    sequential: bool,
    bytes: impl Fn(&InputSite) -> u64,
) -> Vec<Vec<InputSite>> {
    let levels = if sequential { by_level(sites) } else { vec![sites] };
    let mut passes: Vec<Vec<InputSite>> = Vec::new();
    for level in levels {
        let mut left = 0;
        for (number, site) in level.into_iter().enumerate() {
            let bytes = bytes(&site);
            match passes.last_mut() {
                Some(pass) if number > 0 && bytes <= left => pass.push(site),
                _ => {
                    passes.push(vec![site]);
                    left = room;
                }
            }
            left = left.saturating_sub(bytes);
        }
    }
    passes
}

/// Sites in groups, each of which reads what the groups before it make. Experts stand side by side.
fn by_level(sites: Vec<InputSite>) -> Vec<Vec<InputSite>> {
    let mut levels: Vec<(usize, Vec<InputSite>)> = Vec::new();
    let mut before = None;
    let mut within = 0;
    for site in sites {
        within = if before == Some(site.phase) { within + 1 } else { 0 };
        before = Some(site.phase);
        let beside = levels.iter_mut().find(|(level, members)| {
            *level == within && site.expert.is_some() && members[0].expert.is_some()
        });
        match beside {
            Some((_, members)) => members.push(site),
            None => levels.push((within, vec![site])),
        }
    }
    levels.into_iter().map(|(_, members)| members).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_arch::program::Tap;
    use llmopt_calib::Extent;

    fn site(phase: usize, expert: Option<usize>, columns: usize) -> InputSite {
        let extent = Extent { columns, residual: None };
        InputSite { phase, tap: Tap(columns), extent, expert, tensors: Vec::new() }
    }

    /// Attention, and two experts.
    fn sites() -> Vec<InputSite> {
        vec![
            site(0, None, 1),
            site(0, None, 2),
            site(2, Some(0), 3),
            site(2, Some(0), 4),
            site(3, Some(1), 5),
            site(3, Some(1), 6),
        ]
    }

    #[track_caller]
    fn check(room: u64, sequential: bool, expected: &[&[usize]]) {
        let passes = in_passes(sites(), room, sequential, |_| 10);
        let columns = |pass: &Vec<InputSite>| -> Vec<usize> {
            pass.iter().map(|site| site.extent.columns).collect()
        };
        assert_eq!(passes.iter().map(columns).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn passes_hold_what_fits() {
        check(60, false, &[&[1, 2, 3, 4, 5, 6]]);
        check(59, false, &[&[1, 2, 3, 4, 5], &[6]]);
        check(10, false, &[&[1], &[2], &[3], &[4], &[5], &[6]]);
    }

    #[test]
    fn in_a_sequential_run_experts_stand_side_by_side() {
        check(60, true, &[&[1], &[2], &[3, 5], &[4, 6]]);
        check(10, true, &[&[1], &[2], &[3], &[5], &[4], &[6]]);
    }
}
