//! What a pruning sweep holds in memory, and what it puts aside.

use crate::pruning::group::PruneGroup;
use crate::pruning::moving::moving_bytes;
use crate::pruning::observe::Observed;
use crate::pruning::recipe::{PruneMethod, PruneRecipe};
use llmopt_arch::program::Phase;
use llmopt_forward::Engine;
use llmopt_linalg::kept_bytes;
use llmopt_model::Variant;
use llmopt_prune::{Regression, Search};
use llmopt_rewrite::BAND_BYTES;
use llmopt_run::{Error, Resources, base_bytes, known_bytes};
use llmopt_sweep::{Batches, ReadingMemory, carried_width, phase_bytes, widest_band};
use serde::Serialize;

/// What pruning will take, and the drawing of windows before it, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PruneMemory {
    /// A bound on resident memory.
    pub predicted_peak: u64,
    /// The bound asked for.
    pub budget: u64,
    /// The smallest bound that works.
    pub smallest: u64,
    /// Whether hidden states go to scratch files.
    pub spills: bool,
    /// Bytes of hidden states, in memory or in scratch files.
    pub hidden_bytes: u64,
    /// What is held while another stage works.
    #[serde(skip)]
    pub(crate) resting: u64,
}

/// What decides how much is held.
pub(super) struct Demand<'a> {
    pub(super) variant: &'a Variant,
    pub(super) engine: &'a Engine,
    pub(super) recipe: &'a PruneRecipe,
    pub(super) groups: &'a [PruneGroup],
    /// Tensors of the artifact, and the bytes of their names.
    pub(super) names: (usize, usize),
    /// Plans that are held, of as many artifacts.
    pub(super) plans: u64,
    pub(super) resources: Resources,
}

impl Demand<'_> {
    /// Decides what is held; `batches` are those that will be observed, none if nothing is, and `reading`
    /// what the sweeps before take.
    ///
    /// # Errors
    /// [`Error::Budget`] if one group does not fit.
    pub(super) fn planned<'m>(
        &self,
        batches: Option<&Batches>,
        reading: impl Iterator<Item = &'m ReadingMemory>,
    ) -> Result<PruneMemory, Error> {
        let (tensors, names) = self.variant.names();
        let (new, new_names) = self.names;
        // Headers of the source, of what is laid out, and of the artifact that is run.
        let others = (self.plans - 1) * known_bytes(tensors + new, names + new_names);
        let known = base_bytes(tensors, names) + known_bytes(2 * new, 2 * new_names) + others;
        let copying = self.resources.threads as u64 * (BAND_BYTES as u64 + PER_THREAD);
        let rewriting = self.groups.iter().map(|group| self.rewriting(group)).max().unwrap_or(0);
        let (tokens, streams, slots, running) = match batches {
            Some(batches) => {
                let (ids, streams, slots, running) = self.running(batches)?;
                (self.plans * ids, streams, slots, running.max(self.moving(batches)))
            }
            None => (0, 0, 0, 0),
        };
        let work = copying.max(rewriting).max(running);
        let floor = known + tokens + slots + work;
        let (mut smallest, mut peak_before) = (floor, 0);
        for memory in reading {
            smallest = smallest.max(memory.smallest);
            peak_before = peak_before.max(memory.predicted_peak);
        }
        let budget = self.resources.memory;
        if smallest > budget {
            return Err(Error::Budget { given: budget, smallest });
        }
        let whole = known + tokens + streams + work;
        let spills = whole > budget;
        let peak = if spills { floor } else { whole };
        Ok(PruneMemory {
            predicted_peak: peak.max(peak_before),
            budget,
            smallest,
            spills,
            hidden_bytes: streams,
            resting: known + tokens + if spills { 0 } else { streams },
        })
    }

    /// Token ids, hidden states of all streams, those of one batch, and the most that is at work while
    /// a phase runs.
    fn running(&self, batches: &Batches) -> Result<(u64, u64, u64, u64), Error> {
        let program = self.variant.program();
        let width = (carried_width(program) * size_of::<f32>()) as u64;
        let tokens = batches.tokens() as u64;
        let largest = batches.rows_of(batches.largest()) as u64;
        let mut most = 0;
        for phase in program.blocks.iter().flat_map(|block| &block.phases) {
            most = most.max(self.phase(phase, batches)?);
        }
        let reading = self.resources.threads as u64 * widest_band(program);
        let ids = tokens * size_of::<u32>() as u64;
        Ok((ids, STREAMS * width * tokens, STREAMS * width * largest, reading + most))
    }

    /// A phase with what is summed of its inputs.
    fn phase(&self, phase: &Phase, batches: &Batches) -> Result<u64, Error> {
        let batch = batches.shape_of(batches.largest());
        let (engine, threads) = (self.engine, self.resources.threads);
        let group = self.groups.iter().find(|group| group.units_in(phase).is_some());
        let watched = group.map(|group| group.watched_in(phase)).unwrap_or_default();
        let running = phase_bytes(self.variant, phase, &batch, engine, &watched, threads)?;
        let Some(group) = group else { return Ok(running) };
        let hidden = (self.variant.program().hidden * batch.tokens() * size_of::<f32>()) as u64;
        let seen = (group.columns * batch.tokens() * size_of::<f32>()) as u64;
        let adding = Observed::adding_bytes(engine.gemm(), group, batch.tokens(), threads);
        let sums = Observed::bytes(group, self.recipe.needs_gram());
        let input = if group.gated.is_some() { hidden } else { 0 };
        Ok(sums + running + seen + input + 3 * hidden + adding)
    }

    /// Moving what makes the units of a group.
    fn moving(&self, batches: &Batches) -> u64 {
        let (gemm, threads) = (self.engine.gemm(), self.resources.threads);
        let tokens = [batches.tokens(), batches.rows_of(batches.largest())];
        let of = |group: &PruneGroup| moving_bytes(gemm, group, tokens, threads);
        self.groups.iter().map(of).max().unwrap_or(0)
    }

    /// The sums of a group, its matrices, and what choosing and refitting take.
    fn rewriting(&self, group: &PruneGroup) -> u64 {
        let (rows, columns) = (group.rows, group.columns);
        let tensors = group.coupling.parts.iter().map(|part| {
            let tensor = self.variant.model().get(&part.tensor);
            tensor.map_or(0, |tensor| tensor.meta.elements())
        });
        // Of a matrix that is cut: its bytes, its values, and what is left of both.
        let cutting = tensors.clone().max().unwrap_or(0) * 16;
        let weighing = tensors.sum::<u64>() * size_of::<f32>() as u64;
        let reader = (rows * columns * size_of::<f32>()) as u64;
        if !self.recipe.sums() {
            return weighing.max(reader + cutting);
        }
        let (gemm, threads) = (self.engine.gemm(), self.resources.threads);
        let sums = Observed::bytes(group, self.recipe.needs_gram());
        let mut solving = 0;
        if self.recipe.needs_gram() {
            let kept = Regression::bytes(rows, columns);
            let prepared = Regression::prepare_bytes(gemm.in_f32(), rows, columns, threads);
            let refit = Regression::refit_bytes(rows, columns, group.kept_columns(), threads);
            solving = prepared.max(kept + refit) + kept_bytes(threads) as u64;
            if self.recipe.method == PruneMethod::Obs {
                let search = Search::default();
                let select =
                    Regression::select_bytes(rows, columns, group.width(), &search, threads);
                solving = solving.max(kept + select + kept_bytes(threads) as u64);
            }
        }
        reader + sums + weighing.max(solving).max(cutting + reader)
    }
}

/// Streams of hidden states: the original's, that of the pruned model, and one that is tried on.
const STREAMS: u64 = 3;
/// A thread's stack and its part of the allocator.
const PER_THREAD: u64 = 4 << 20;
