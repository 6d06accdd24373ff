//! The pruning sweep: phase after phase is observed as it was found, pruned, and passed.
//!
//! Two streams go through the model: the original's, and that of what is written, which runs the
//! artifact from the files that it is written to.

use crate::handover::{Handover, Progress};
use crate::pruning::choice::{Chosen, chosen};
use crate::pruning::cut::Cut;
use crate::pruning::group::PruneGroup;
use crate::pruning::journal::Records;
use crate::pruning::moving::{Mover, Streams, Tokens};
use crate::pruning::observe::Observed;
use crate::pruning::plan::PrunePlan;
use crate::pruning::write::Files;
use llmopt_arch::program::Phase;
use llmopt_data::in_batches;
use llmopt_forward::{Taps, Weights};
use llmopt_linalg::give_back_freed;
use llmopt_model::{Variant, sliced};
use llmopt_prune::{Side, magnitude};
use llmopt_run::{Cancel, Error, Events};
use llmopt_sweep::{Batches, Meter, Runner, Store, count, embedded};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// A sweep under way.
pub(super) struct Sweep<'a> {
    pub(super) plan: &'a PrunePlan,
    pub(super) cut: &'a Cut,
    /// The artifact, as far as it is written.
    pub(super) written: &'a Variant,
    pub(super) files: &'a Files<'a>,
    /// Where a stage follows block by block.
    pub(super) handover: Option<&'a Handover>,
    pub(super) events: &'a dyn Events,
    pub(super) cancel: &'a Cancel,
    pub(super) meter: Meter<'a>,
}

/// What a group shows, as it was found.
struct Seen<'a> {
    sums: Observed,
    /// Where what makes its units is moved.
    tokens: Option<Tokens<'a>>,
}

impl Sweep<'_> {
    /// Prunes every group. What `records` already knows is passed through as it was written.
    ///
    /// # Errors
    /// If the model cannot be read, computes NaN or infinity, or a fallback is forbidden.
    pub(super) fn observed(&self, batches: &Batches, records: &mut Records) -> Result<(), Error> {
        let mut open = (0..self.cut.groups.len()).filter(|&t| !records.is_pruned(t)).count();
        if open == 0 {
            return Ok(());
        }
        self.pass_over(batches, records);
        let own = embedded(&self.plan.variant, batches, self.store(batches)?)?;
        let original = own.copied(|| self.store(batches))?;
        let mut streams = Streams { own, original };
        let (source, written) = (&self.plan.variant, self.written);
        let blocks = written.program().blocks.iter().enumerate();
        for (layers, (block, after)) in self.cut.runs().zip(blocks) {
            let phases = &source.program().blocks[layers.start].phases;
            for (number, (phase, after)) in phases.iter().zip(&after.phases).enumerate() {
                let is_last = number + 1 == phases.len();
                let behind = if is_last { layers.start + 1..layers.end } else { 0..0 };
                let weights = self.run_original(phase, behind, batches, &mut streams.original)?;
                match self.group_of(phase).filter(|&t| !records.is_pruned(t)) {
                    Some(number) => {
                        let seen = self.observe(phase, weights, number, batches, &streams)?;
                        self.prune(number, Some(seen), records)?;
                        let group = &self.cut.groups[number];
                        self.meter.did(self.plan.seen(group, batches.tokens()));
                        open -= 1;
                    }
                    None => drop(weights),
                }
                if open == 0 {
                    return Ok(());
                }
                self.run(written, after, batches, &mut streams.own)?;
            }
            self.handover.inspect(|handover| handover.written(Progress::Blocks(block + 1)));
        }
        Ok(())
    }

    /// Prunes every group by its weights alone.
    pub(super) fn unobserved(&self, records: &mut Records) -> Result<(), Error> {
        self.pass_over(&in_batches(Vec::new(), false), records);
        for number in 0..self.cut.groups.len() {
            self.go_on()?;
            if !records.is_pruned(number) {
                self.prune(number, None, records)?;
            }
        }
        Ok(())
    }

    /// Tells what is pruned, and where this attempt goes on.
    fn pass_over(&self, batches: &Batches, records: &Records) {
        let groups = || self.cut.groups.iter().enumerate();
        let done = groups().filter(|(number, _)| records.is_pruned(*number));
        let done: Vec<&PruneGroup> = done.map(|(_, group)| group).collect();
        let first = groups().find(|(number, _)| !records.is_pruned(*number));
        if let (Some((_, first)), false) = (first, done.is_empty()) {
            let work = |group| self.plan.group_work(group, batches);
            self.meter.passed_over(done.into_iter().map(work).sum());
            self.events.resuming(&format!("`{}`", first.reader));
        }
    }

    /// The group whose units `phase` multiplies.
    fn group_of(&self, phase: &Phase) -> Option<usize> {
        self.cut.groups.iter().position(|group| group.units_in(phase).is_some())
    }

    /// Takes the original's stream through a phase, and through the layers behind it that go. Returns the
    /// weights of the phase, unless those of the layers needed their room.
    fn run_original(
        &self,
        phase: &Phase,
        behind: Range<usize>,
        batches: &Batches,
        original: &mut Store,
    ) -> Result<Option<Weights>, Error> {
        let source = &self.plan.variant;
        let weights = self.weights(source, phase)?;
        self.runner(source, batches).run(phase, &weights, original)?;
        if behind.is_empty() {
            return Ok(Some(weights));
        }
        drop(weights);
        self.pass(behind, batches, original)?;
        Ok(None)
    }

    /// Takes a stream through layers that go.
    fn pass(
        &self,
        layers: Range<usize>,
        batches: &Batches,
        store: &mut Store,
    ) -> Result<(), Error> {
        let variant = &self.plan.variant;
        let mut phases = variant.program().blocks[layers].iter().flat_map(|block| &block.phases);
        phases.try_for_each(|phase| self.run(variant, phase, batches, store))
    }

    fn run(
        &self,
        variant: &Variant,
        phase: &Phase,
        batches: &Batches,
        store: &mut Store,
    ) -> Result<(), Error> {
        let weights = self.weights(variant, phase)?;
        self.runner(variant, batches).run(phase, &weights, store)
    }

    fn weights(&self, variant: &Variant, phase: &Phase) -> Result<Weights, Error> {
        let weights = variant.weights(phase, self.plan.engine.gemm())?;
        self.meter.did(count::weights(phase));
        Ok(weights)
    }

    /// Runs the phase as it was found on a copy of the artifact's stream, and sums up what it shows. Its
    /// weights are read unless they are at hand.
    fn observe<'s>(
        &self,
        phase: &Phase,
        weights: Option<Weights>,
        number: usize,
        batches: &Batches,
        streams: &'s Streams,
    ) -> Result<Seen<'s>, Error> {
        let (plan, group) = (self.plan, &self.cut.groups[number]);
        let gemm = plan.engine.gemm();
        let watched = group.watched_in(phase);
        let follows = group.adds_to_hidden(phase);
        let mut observed = Observed::new(group, plan.recipe.needs_gram(), follows);
        let weights = match weights {
            Some(weights) => weights,
            None => self.weights(&plan.variant, phase)?,
        };
        let mut tried = streams.own.copied(|| self.store(batches))?;
        let runner = self.runner(&plan.variant, batches);
        for batch in 0..batches.len() {
            let seen = runner.observe(phase, &weights, &mut tried, batch, &watched)?;
            let (original, own) = (streams.original.hidden(batch)?, tried.hidden(batch)?);
            let behind = follows.then_some((original.values(), own.values()));
            observed.add(gemm, &seen[0], behind);
            drop((original, own));
            if let Some(inputs) = seen.into_iter().nth(1) {
                tried.put(batch, Taps::new(inputs))?;
            }
        }
        plan.engine.release();
        let tokens = Tokens { inputs: tried, streams, batches: batches.len() };
        Ok(Seen { sums: observed, tokens: group.gated.is_some().then_some(tokens) })
    }

    /// Chooses what stays of a group, and writes it.
    fn prune(
        &self,
        number: usize,
        seen: Option<Seen<'_>>,
        records: &mut Records,
    ) -> Result<(), Error> {
        let (plan, group) = (self.plan, &self.cut.groups[number]);
        let reader = plan.variant.rows(&group.reader, 0..group.rows, group.columns)?;
        let magnitudes = || self.magnitudes(group);
        let gemm = plan.engine.gemm();
        let observed = seen.as_ref().map(|seen| &seen.sums);
        let mut made = chosen(group, &plan.recipe, gemm, &reader, magnitudes, observed)?;
        let tokens = seen.and_then(|seen| seen.tokens);
        drop(reader);
        if let (Some(gated), Some(tokens)) = (&group.gated, &tokens) {
            give_back_freed();
            let (variant, refine, cancel) = (&plan.variant, plan.recipe.refine, self.cancel);
            Mover { variant, gemm, refine, cancel }.move_units(group, gated, &mut made, tokens)?;
        }
        let prints = self.write(group, &made)?;
        self.files.sync(prints.keys())?;
        records.add_pruned(number, made.facts, prints)?;
        self.meter.did(plan.rewriting(group));
        self.events.advanced(group.bytes(plan.variant.model()), &group.reader);
        give_back_freed();
        Ok(())
    }

    /// Writes every tensor that ranges over the units of a group. Returns their fingerprints.
    fn write(&self, group: &PruneGroup, made: &Chosen) -> Result<BTreeMap<String, u64>, Error> {
        let (model, source) = (self.plan.variant.model(), self.plan.variant.source());
        let mut prints = BTreeMap::new();
        for part in group.written_parts() {
            let fitted = made.weights.as_ref().filter(|_| part.tensor == group.reader);
            let print = match fitted.or_else(|| made.moved.get(&part.tensor)) {
                Some(weights) => self.files.write_values(&part.tensor, weights)?,
                None => {
                    let slice = model.slices(&part.tensor, group.kept(&made.facts.kept));
                    let slice = slice.expect("the plan has cut it");
                    self.files.write(&part.tensor, &sliced(source, &part.tensor, &slice)?)?
                }
            };
            prints.insert(part.tensor.clone(), print);
        }
        if let Some(name) = &group.bias {
            let mut bias = match model.get(name) {
                Some(_) => self.plan.variant.vector(name)?,
                None => vec![0.0; group.rows],
            };
            let added = made.bias.iter().flatten();
            bias.iter_mut().zip(added).for_each(|(value, added)| *value += added);
            prints.insert(name.clone(), self.files.write_values(name, &bias)?);
        }
        Ok(prints)
    }

    /// The norm of everything that a unit consists of.
    fn magnitudes(&self, group: &PruneGroup) -> Result<Vec<f64>, Error> {
        let model = self.plan.variant.model();
        let mut squares = vec![0.0; group.coupling.units];
        for part in &group.coupling.parts {
            let Some(&[rows, columns]) = model.get(&part.tensor).map(|t| t.meta.shape()) else {
                continue;
            };
            let weights = self.plan.variant.rows(&part.tensor, 0..rows, columns)?;
            let units: Vec<usize> = (0..group.coupling.units).collect();
            // The units' places, copy after copy of what is fused, each the units in their order.
            let copies = part.places(0).len();
            for copy in 0..copies {
                let first = part.places(0)[copy].start;
                let end = part.places(units.len() - 1)[copy].end;
                let norms = match part.dimension {
                    0 => {
                        let rows = &weights[first * columns..end * columns];
                        magnitude(&[Side::Rows(rows)], units.len())
                    }
                    _ => magnitude(&[Side::Columns { weights: &weights, columns }], units.len()),
                };
                squares.iter_mut().zip(norms).for_each(|(sum, norm)| *sum += norm * norm);
            }
        }
        Ok(squares.into_iter().map(f64::sqrt).collect())
    }

    /// # Errors
    /// If the run is to stop.
    fn go_on(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() { Err(Error::Interrupted) } else { Ok(()) }
    }

    fn runner<'r>(&'r self, variant: &'r Variant, batches: &'r Batches) -> Runner<'r> {
        Runner {
            variant,
            batches,
            engine: &self.plan.engine,
            cancel: self.cancel,
            meter: &self.meter,
            times: 1.0,
        }
    }

    fn store(&self, batches: &Batches) -> Result<Store, Error> {
        Store::new(self.plan.variant.program(), batches, self.folder())
    }

    fn folder(&self) -> Option<&Path> {
        self.plan.memory.spills.then_some(self.plan.scratch.as_path())
    }
}
