//! How long pruning takes.

use crate::pruning::group::PruneGroup;
use crate::pruning::plan::PrunePlan;
use crate::pruning::recipe::PruneMethod;
use llmopt_data::{drawn, in_batches, judges};
use llmopt_estimate::{
    Speed, Stages, TimeEstimate, Windows, choosing, copied, looked_at, read_back, refitting,
};
use llmopt_run::Error;
use llmopt_sweep::count::{computed, passed, read};
use llmopt_sweep::{Batches, Kind, Work, judging};
use std::ops::Range;

impl PrunePlan {
    /// How long carrying it out will take; with other windows than its own, if some are given.
    pub fn estimate(&self, speed: &Speed, other: Option<Windows>) -> TimeEstimate {
        TimeEstimate::of(&self.stages(other), speed)
    }

    /// The windows that the model is observed on; none, if it is not.
    pub fn observed_windows(&self) -> Option<Windows> {
        let windows = self.windows(None)?;
        Some(Windows { windows: windows.len(), window: windows.first()?.len() })
    }

    /// The speed of this machine at what this plan does.
    ///
    /// # Errors
    /// If a probe cannot be run.
    pub fn speed(&self) -> Result<Speed, Error> {
        let typical = Speed::typical(self.resources.threads);
        if self.estimate(&typical, None).seconds < Speed::WORTHWHILE {
            return Ok(typical);
        }
        let speed = typical.hashing();
        match self.recipe.observes() {
            true => {
                let (engine, variant) = (&self.engine, &self.variant);
                speed.running(engine, variant)?.summing(engine, variant)?.pruning(engine, variant)
            }
            false => Ok(speed),
        }
    }

    fn windows(&self, other: Option<Windows>) -> Option<Vec<Vec<u32>>> {
        let set = self.set.as_ref()?;
        Some(other.map_or_else(|| set.placeholders(), Windows::placeholders))
    }

    fn stages(&self, other: Option<Windows>) -> Stages {
        let mut stages = Stages::new();
        let source: u64 = self.variant.source().shards().iter().map(|shard| shard.bytes).sum();
        let program = self.variant.program();
        let windows = self.windows(other);
        stages.push(("look", looked_at(source) + Work::of(Kind::Hashed, source as f64)));
        if let (Some(set), Some(windows)) = (&self.set, &windows) {
            stages.extend(drawn(program, set.self_generated(), set.windows(), windows));
        }
        for trial in self.trials() {
            trial.add_written(&mut stages, windows.as_deref());
        }
        if let (Some(_), Some(windows)) = (&self.choice, &windows) {
            let models = (1 + self.trials().count()) as f64;
            stages.push(("decide", read(program, &judging(judges(windows))) * models));
        }
        // One mix of several is much like another.
        self.add_written(&mut stages, windows.as_deref());
        stages
    }

    fn add_written(&self, stages: &mut Stages, windows: Option<&[Vec<u32>]>) {
        let program = self.variant.program();
        let all = windows.map(|windows| self.recipe.fitting(windows));
        let windows = windows.map(|windows| self.fitted_of(windows));
        if let (Some(search), Some(windows)) = (&self.search, all) {
            // Without a layer a model is one with all of them up to there.
            let models = 1.0 + program.blocks.len() as f64 / 2.0;
            let sweep = read(program, &judging(search.judging(windows))) * models;
            stages.extend(vec![("find layers", sweep); search.sweeps()]);
        }
        let (plain, output) = self.copied_and_written();
        stages.push(("copy", copied(plain)));
        let seen = windows.filter(|_| self.recipe.sums());
        let batches = seen.map(|windows| in_batches(windows.to_vec(), false));
        let stored = Work::of(Kind::Synced, self.cut.groups.len() as f64) + copied(output - plain);
        stages.push(("prune", self.pruning(batches.as_ref()) + stored));
        stages.push(("read back", read_back(output)));
    }

    /// Those of other windows than the plan's own that it would be fitted to.
    fn fitted_of<'w>(&self, windows: &'w [Vec<u32>]) -> &'w [Vec<u32>] {
        let (all, own) = (self.recipe.fitting(windows), self.windows(None).unwrap_or_default());
        let share = self.fits as f64 / self.recipe.fitting(&own).len().max(1) as f64;
        &all[..((all.len() as f64 * share).round() as usize).min(all.len())]
    }

    /// Bytes that are copied, and bytes that are written in all.
    fn copied_and_written(&self) -> (u64, u64) {
        let (mut plain, mut all) = (0, 0);
        for planned in self.cut.artifact.tensors() {
            let bytes = planned.named.meta.bytes();
            all += bytes;
            plain += if planned.tensor.treatment.is_plain() { bytes } else { 0 };
        }
        (plain, all)
    }

    /// Choosing and refitting everywhere, on so many batches, if on any.
    pub(super) fn pruning(&self, batches: Option<&Batches>) -> Work {
        let groups: Work = self.cut.groups.iter().map(|group| self.rewriting(group)).sum();
        groups + batches.map(|batches| self.observing(batches)).unwrap_or_default()
    }

    /// All that a group takes beside the runs that any phase takes.
    pub(super) fn group_work(&self, group: &PruneGroup, batches: &Batches) -> Work {
        self.tried(group, batches) + self.seen(group, batches.tokens()) + self.rewriting(group)
    }

    /// Running the original and the artifact phase after phase, and every group once more.
    pub(super) fn observing(&self, batches: &Batches) -> Work {
        let program = self.variant.program();
        let phases = program.blocks.iter().flat_map(|block| &block.phases);
        let left = 1.0 - self.reached.sparsity;
        let run = |phase| passed(program, phase, batches) * (1.0 + left);
        let group = |group| self.tried(group, batches) + self.seen(group, batches.tokens());
        phases.map(run).sum::<Work>() + self.cut.groups.iter().map(group).sum()
    }

    /// Running the phase of a group on what reaches it in the artifact. The original was run on the same
    /// weights right before, but where layers that go were run in between.
    fn tried(&self, group: &PruneGroup, batches: &Batches) -> Work {
        let (program, layer) = (self.variant.program(), group.coupling.layer);
        let phases = &program.blocks[layer].phases;
        let Some(number) = phases.iter().position(|phase| group.units_in(phase).is_some()) else {
            return Work::default();
        };
        let ends = |layers: Range<usize>| layers.start == layer && layers.len() > 1;
        match number + 1 == phases.len() && self.cut.runs().any(ends) {
            true => passed(program, &phases[number], batches),
            false => computed(program, &phases[number], batches),
        }
    }

    /// What sums over tokens take at a group, and moving what makes its units.
    pub(super) fn seen(&self, group: &PruneGroup, tokens: usize) -> Work {
        let (tokens, rows, columns) = (tokens as f64, group.rows as f64, group.columns as f64);
        if !self.recipe.needs_gram() {
            return Work::of(Kind::Sums, tokens * columns);
        }
        let sums = Work::of(Kind::Sums, tokens * columns * (columns / 2.0 + rows));
        if group.gated.is_none() || self.recipe.refine == 0 {
            return sums;
        }
        let kept = group.kept_columns() as f64;
        let steps = moving_steps(self.recipe.refine, tokens, rows);
        // Products with gate, up and down projection: 4 for the gradient, 8 for each step, 3 to look
        // again, and sums beside the first and the last.
        let products = (7.0 + 8.0 * steps) * tokens * kept * rows;
        let summed = tokens * kept * (2.0 * rows + kept / 2.0 + rows);
        sums + Work::of(Kind::Products, products) + Work::of(Kind::Sums, summed)
    }

    /// Choosing the units of a group, and refitting what reads them.
    pub(super) fn rewriting(&self, group: &PruneGroup) -> Work {
        let (rows, columns, kept) = (group.rows, group.columns, group.kept_columns());
        let recipe = &self.recipe;
        let mut work = Work::default();
        if recipe.needs_gram() && recipe.method == PruneMethod::Obs && !group.is_whole() {
            work += choosing(rows, columns, kept);
        }
        if recipe.refit {
            work += refitting(rows, columns, kept);
            if group.gated.is_some() && recipe.refine > 0 {
                work += refitting(rows, kept, kept);
            }
        }
        work
    }
}

/// Passes over the tokens that are made, by how many there are: as many as they are worth.
fn moving_steps(refine: usize, tokens: f64, inputs: f64) -> f64 {
    (refine as f64).min((tokens / (8.0 * inputs)).floor().max(1.0))
}
