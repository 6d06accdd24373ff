//! Which layers go: reading sweeps over the original with candidates that lack some, side by side.
//!
//! Each layer alone first. Then sets: the layers that cost least alone, and neighbours that cost little
//! in sum. Then exchanges in the best of them. What counts is KL divergence, before anything is refitted.

use crate::pruning::shape::TOLERANCE;
use llmopt_arch::axes::Shape;
use llmopt_forward::Engine;
use llmopt_measure::Divergences;
use llmopt_measure::judged;
use llmopt_model::Variant;
use llmopt_run::{Error, Resources};
use llmopt_sweep::Run;
use llmopt_sweep::{ReadingMemory, judging, planned};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A search that fits the budget.
pub(super) struct PlannedSearch {
    /// The shape but for which layers it has, and the share of the blocks to remove.
    shape: Shape,
    requested: f64,
    /// Layers that go.
    count: usize,
    /// The windows that judge: the first.
    windows: usize,
    pub(super) memory: ReadingMemory,
}

/// Which layers go, and what was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoundLayers {
    /// The layers that go, by their numbers in the source.
    pub gone: Vec<usize>,
    /// Windows that it was judged on.
    pub windows: usize,
    /// Everything that was tried, in the order of trials.
    pub tried: Vec<TriedLayers>,
}

/// A set of layers that was tried without.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriedLayers {
    /// The layers, by their numbers in the source.
    pub without: Vec<usize>,
    /// Mean KL divergence from the original model, in nats, with nothing refitted.
    pub kld: f64,
}

impl PlannedSearch {
    /// Plans the search for as many layers as `shape` lacks.
    ///
    /// # Errors
    /// [`Error::Budget`] if a layer of the candidates does not fit.
    pub(super) fn new(
        variant: &Variant,
        engine: &Engine,
        (shape, requested): (Shape, f64),
        windows: &[Vec<u32>],
        resources: Resources,
    ) -> Result<Self, Error> {
        let layers = variant.program().blocks.len();
        let count = layers - shape.layers.len();
        let windows = first(windows);
        let batches = judging(windows);
        let candidates = if count == 1 { layers - 1 } else { (layers - 1).max(MOST) };
        let held = Divergences::bytes(&batches, candidates);
        let memory = planned(&vec![variant; 1 + candidates], &batches, engine, held, resources)?;
        Ok(Self { shape, requested, count, windows: windows.len(), memory })
    }

    /// The windows that it judges by.
    pub(super) fn judging<'w>(&self, windows: &'w [Vec<u32>]) -> &'w [Vec<u32>] {
        first(windows)
    }

    /// Reading sweeps that it takes at most.
    pub(super) fn sweeps(&self) -> usize {
        if self.count == 1 { 1 } else { 3 }
    }

    /// Searches on the first of `windows`.
    ///
    /// # Errors
    /// If the model cannot be read, computes NaN or infinity, or no set of layers is one that loaders
    /// accept.
    pub(super) fn found(
        &self,
        windows: &[Vec<u32>],
        variant: &Variant,
        run: Run<'_>,
    ) -> Result<FoundLayers, Error> {
        let original = variant.clone();
        let layers = original.program().blocks.len();
        let windows = &windows[..self.windows.min(windows.len())];
        let mut trials = Trials { search: self, original, windows, run, tried: Vec::new() };
        trials.run((1..layers).map(|layer| vec![layer]).collect())?;
        if self.count > 1 {
            let alone = trials.alone();
            trials.run(sets(&alone, self.count))?;
            let best = trials.best(self.count).map(|best| best.without.clone());
            trials.run(best.map(|best| exchanges(&alone, &best)).unwrap_or_default())?;
        }
        let gone = trials.best(self.count).map(|best| best.without.clone());
        let gone = gone.ok_or_else(|| {
            Error::Refused(format!(
                "axis `layers`: no {} layers can go that leave a shape which loaders accept, within two \
                 points of the sparsity",
                self.count
            ))
        })?;
        Ok(FoundLayers { gone, windows: self.windows, tried: trials.tried })
    }
}

/// What was tried so far.
struct Trials<'a> {
    search: &'a PlannedSearch,
    original: Variant,
    windows: &'a [Vec<u32>],
    run: Run<'a>,
    tried: Vec<TriedLayers>,
}

impl Trials<'_> {
    /// Runs the model without each of `sets`, side by side; those that loaders would refuse are left out.
    fn run(&mut self, mut sets: Vec<Vec<usize>>) -> Result<(), Error> {
        sets.retain(|set| self.is_new(set) && self.is_accepted(set));
        if sets.is_empty() {
            return Ok(());
        }
        let without = |set: &Vec<usize>| self.original.clone().without_layers(set);
        let all = std::iter::once(self.original.clone());
        let variants: Vec<Variant> = all.chain(sets.iter().map(without)).collect();
        let memory = &self.search.memory;
        let klds = judged("find layers", &variants, self.windows, memory, self.run)?;
        let found = sets.into_iter().zip(klds);
        self.tried.extend(found.map(|(without, kld)| TriedLayers { without, kld: kld.value }));
        Ok(())
    }

    fn is_new(&self, set: &[usize]) -> bool {
        self.tried.iter().all(|tried| tried.without != set)
    }

    /// Whether loaders accept what stays, and it is as much as was asked for. A single layer is tried for
    /// what it tells of sets, which may be accepted where it is not.
    fn is_accepted(&self, set: &[usize]) -> bool {
        let layers = 0..self.original.program().blocks.len();
        let layers = layers.filter(|layer| !set.contains(layer)).collect();
        let shape = Shape { layers, ..self.search.shape.clone() };
        let model = self.original.model();
        let off = (model.sparsity(&shape) - self.search.requested).abs();
        set.len() < self.search.count || off <= TOLERANCE && model.edits(&shape).is_ok()
    }

    /// The divergence without each layer alone.
    fn alone(&self) -> BTreeMap<usize, f64> {
        let alone = self.tried.iter().filter(|tried| tried.without.len() == 1);
        alone.map(|tried| (tried.without[0], tried.kld)).collect()
    }

    /// The set of so many layers that costs least; of equal ones the first.
    fn best(&self, count: usize) -> Option<&TriedLayers> {
        let sets = self.tried.iter().filter(|tried| tried.without.len() == count);
        sets.min_by(|a, b| a.kld.total_cmp(&b.kld))
    }
}

/// Sets of `count` layers: those that cost least alone, and runs of neighbours that cost least in sum.
fn sets(alone: &BTreeMap<usize, f64>, count: usize) -> Vec<Vec<usize>> {
    let mut cheapest = by_cost(alone);
    cheapest.truncate(count);
    cheapest.sort_unstable();
    let layers: Vec<usize> = alone.keys().copied().collect();
    let cost = |run: &[usize]| run.iter().map(|layer| alone[layer]).sum::<f64>();
    let mut runs: Vec<&[usize]> = layers.windows(count).collect();
    runs.sort_by(|a, b| cost(a).total_cmp(&cost(b)).then(a.cmp(b)));
    let runs = runs.into_iter().take(MOST - 1).map(<[usize]>::to_vec);
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for set in std::iter::once(cheapest).chain(runs) {
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    sets
}

/// The set with one of its dearest layers exchanged for one of the cheapest that stay.
fn exchanges(alone: &BTreeMap<usize, f64>, set: &[usize]) -> Vec<Vec<usize>> {
    let order = by_cost(alone);
    let outside: Vec<usize> = order.iter().copied().filter(|layer| !set.contains(layer)).collect();
    let dearest = order.iter().rev().copied().filter(|layer| set.contains(layer)).take(2);
    let exchanged = dearest.flat_map(|gone| {
        outside.iter().take(MOST / 2).map(move |&new| {
            let kept = set.iter().copied().filter(move |&layer| layer != gone);
            let mut set: Vec<usize> = kept.chain([new]).collect();
            set.sort_unstable();
            set
        })
    });
    exchanged.collect()
}

/// Layers, the cheapest first.
fn by_cost(alone: &BTreeMap<usize, f64>) -> Vec<usize> {
    let mut order: Vec<usize> = alone.keys().copied().collect();
    order.sort_by(|a, b| alone[a].total_cmp(&alone[b]).then(a.cmp(b)));
    order
}

/// As many windows as tell layers apart.
fn first(windows: &[Vec<u32>]) -> &[Vec<u32>] {
    let length = windows.first().map_or(1, Vec::len).max(1);
    &windows[..TOKENS.div_ceil(length).max(2).min(windows.len())]
}

/// Tokens that judge.
const TOKENS: usize = 2048;
/// Candidates of a sweep, where it is not each layer alone.
const MOST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(costs: &[f64]) -> BTreeMap<usize, f64> {
        (1..).zip(costs.iter().copied()).collect()
    }

    #[test]
    fn sets_are_the_cheapest_layers_and_runs_of_neighbours_each_once() {
        let alone = costs(&[5.0, 1.0, 2.0, 9.0, 1.5]);
        assert_eq!(sets(&alone, 2), [vec![2, 5], vec![2, 3], vec![1, 2], vec![4, 5], vec![3, 4]]);
        assert_eq!(sets(&costs(&[3.0, 1.0, 2.0]), 2), [vec![2, 3], vec![1, 2]]);
        assert_eq!(sets(&costs(&[3.0, 1.0]), 2), [vec![1, 2]]);
    }

    #[test]
    fn exchanges_take_the_cheapest_outside_for_the_dearest_inside() {
        let alone = costs(&[5.0, 1.0, 2.0, 9.0, 1.5]);
        let found = exchanges(&alone, &[2, 3]);
        assert_eq!(found, [[2, 5], [1, 2], [2, 4], [3, 5], [1, 3], [3, 4]].map(|set| set.to_vec()));
    }
}
