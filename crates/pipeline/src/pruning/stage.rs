//! Pruning as a stage: a phase is observed as it was found, on what reaches it in the artifact, then
//! pruned, and passed as a loader will find it.

use crate::pruning::choice::{Chosen, chosen};
use crate::pruning::cut::Cut;
use crate::pruning::group::PruneGroup;
use crate::pruning::moving::{Mover, Tokens};
use crate::pruning::observe::Observed;
use crate::pruning::plan::PrunePlan;
use llmopt_arch::program::{Phase, Tap};
use llmopt_forward::{Taps, Weights};
use llmopt_linalg::give_back_freed;
use llmopt_model::{Variant, sliced};
use llmopt_prune::{Side, magnitude};
use llmopt_rewrite::{Boundary, Context, Group, Part, Seen, Stage, Step, Streams};
use llmopt_run::{Cancel, Error, Events};
use llmopt_sweep::{Batches, Meter, carried_width};
use llmopt_tensor::encode;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The stage under way.
pub(super) struct PruneStage<'a> {
    plan: &'a PrunePlan,
    cut: &'a Cut,
    boundary: &'a Boundary<'a>,
    /// The artifact, as far as it is written.
    written: &'a Variant,
    context: Context<'a>,
    events: &'a dyn Events,
    /// The layers of the source that each layer of the artifact stands for.
    layers: Vec<Range<usize>>,
    /// How many groups are still to be pruned.
    open: AtomicUsize,
}

impl<'a> PruneStage<'a> {
    /// The stage over these batches, none if weights alone decide. Nothing happens
    /// yet.
    pub(super) fn new(
        (plan, cut): (&'a PrunePlan, &'a Cut),
        (boundary, written): (&'a Boundary<'a>, &'a Variant),
        batches: &'a Batches,
        (events, cancel): (&'a dyn Events, &'a Cancel),
    ) -> Self {
        let observed = (!batches.is_empty()).then_some(batches);
        let context = Context {
            batches,
            engine: &plan.engine,
            cancel,
            meter: Meter::new(events, plan.pruning(observed)),
            spill: plan.memory.spills.then_some(plan.scratch.as_path()),
            width: carried_width(plan.variant.program()),
        };
        let layers = cut.runs().collect();
        let open = AtomicUsize::new(0);
        let stage = Self { plan, cut, boundary, written, context, events, layers, open };
        let open = cut.groups.iter().filter(|group| !stage.is_pruned(group)).count();
        stage.open.store(open, Ordering::Relaxed);
        stage
    }

    /// Prunes every group that is open by its weights alone.
    ///
    /// # Errors
    /// If the model cannot be read, or a fallback is forbidden.
    pub(super) fn prune_unobserved(&self) -> Result<(), Error> {
        for group in self.cut.groups.iter().filter(|group| !self.is_pruned(group)) {
            if self.context.cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            self.prune(group, None)?;
        }
        Ok(())
    }

    /// Tells what is pruned, and where this attempt goes on.
    pub(super) fn pass_over(&self) {
        let groups = &self.cut.groups;
        let done = groups.iter().filter(|group| self.is_pruned(group));
        let work = done.map(|group| self.plan.group_work(group, self.context.batches));
        let first = groups.iter().find(|group| !self.is_pruned(group));
        if let (Some(first), true) = (first, groups.iter().any(|group| self.is_pruned(group))) {
            self.context.meter.passed_over(work.sum());
            self.events.resuming(&format!("`{}`", first.reader));
        }
    }

    fn is_pruned(&self, group: &PruneGroup) -> bool {
        self.boundary.records.knows(&group.reader)
            && group.written_tensors().all(|tensor| self.boundary.is_written(tensor))
    }

    /// Chooses what stays of a group, and writes it.
    fn prune(
        &self,
        group: &PruneGroup,
        seen: Option<(&Observed, Option<Tokens<'_>>)>,
    ) -> Result<(), Error> {
        let plan = self.plan;
        let reader = plan.variant.rows(&group.reader, 0..group.rows, group.columns)?;
        let magnitudes = || self.magnitudes(group);
        let gemm = plan.engine.gemm();
        let observed = seen.as_ref().map(|(sums, _)| *sums);
        let mut made = chosen(group, &plan.recipe, gemm, &reader, magnitudes, observed)?;
        drop(reader);
        let tokens = seen.and_then(|(_, tokens)| tokens);
        if let (Some(gated), Some(tokens)) = (&group.gated, &tokens) {
            give_back_freed();
            let (variant, refine, cancel) =
                (&plan.variant, plan.recipe.refine, self.context.cancel);
            Mover { variant, gemm, refine, cancel }.move_units(group, gated, &mut made, tokens)?;
        }
        self.write(group, &made)?;
        self.context.meter.did(plan.rewriting(group));
        self.events.advanced(group.bytes(plan.variant.model()), &group.reader);
        self.open.fetch_sub(1, Ordering::Relaxed);
        give_back_freed();
        Ok(())
    }

    /// Writes every tensor that ranges over the units of a group.
    fn write(&self, group: &PruneGroup, made: &Chosen) -> Result<(), Error> {
        let (model, source) = (self.plan.variant.model(), self.plan.variant.source());
        self.boundary.add_facts(&group.reader, &made.facts)?;
        for part in group.written_parts() {
            let fitted = made.weights.as_ref().filter(|_| part.tensor == group.reader);
            match fitted.or_else(|| made.moved.get(&part.tensor)) {
                Some(weights) => self.write_values(&part.tensor, weights)?,
                None => {
                    let slice = model.slices(&part.tensor, group.kept(&made.facts.kept));
                    let slice = slice.expect("the plan has cut it");
                    let bytes = sliced(source, &part.tensor, &slice)?;
                    self.boundary.write_bytes(&part.tensor, &bytes)?;
                }
            }
        }
        let Some(name) = &group.bias else { return Ok(()) };
        let mut bias = match model.get(name) {
            Some(_) => self.plan.variant.vector(name)?,
            None => vec![0.0; group.rows],
        };
        let added = made.bias.iter().flatten();
        bias.iter_mut().zip(added).for_each(|(value, added)| *value += added);
        self.write_values(name, &bias)
    }

    /// Writes values in the tensor's own type.
    fn write_values(&self, tensor: &str, values: &[f32]) -> Result<(), Error> {
        let meta = self.boundary.planned(tensor).named.meta;
        let mut bytes = vec![0; meta.bytes() as usize];
        encode(meta.dtype(), values, &mut bytes)
            .map_err(|error| Error::Refused(format!("tensor `{tensor}`: {error}")))?;
        self.boundary.write_bytes(tensor, &bytes)
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
}

impl Stage for PruneStage<'_> {
    fn context(&self) -> &Context<'_> {
        &self.context
    }

    fn found(&self) -> &Variant {
        &self.plan.variant
    }

    fn written(&self) -> &Variant {
        self.written
    }

    fn written_weights(&self, phase: &Phase) -> Result<Weights, Error> {
        self.written.weights(phase, self.plan.engine.gemm())
    }

    fn compares(&self) -> bool {
        true
    }

    fn is_done(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    fn steps(&self, block: usize, phase: usize) -> Result<Vec<Step>, Error> {
        let (layers, blocks) = (self.layers[block].clone(), &self.found().program().blocks);
        let phases = &blocks[layers.start].phases;
        let mut found = vec![phases[phase].clone()];
        if phase + 1 == phases.len() {
            // The original goes through the layers behind that the artifact has no more.
            let behind = &blocks[layers.start + 1..layers.end];
            found.extend(behind.iter().flat_map(|block| block.phases.iter().cloned()));
        }
        let mut groups = self.cut.groups.iter();
        let group = groups.position(|group| group.units_in(&phases[phase]).is_some());
        let group = group.filter(|&number| !self.is_pruned(&self.cut.groups[number]));
        let written = self.written.program().blocks[block].phases[phase].clone();
        let part = Part { found, written, group };
        Ok(vec![Step { as_found: group.is_some(), parts: vec![part] }])
    }

    fn group(&self, number: usize) -> Box<dyn Group + '_> {
        let group = &self.cut.groups[number];
        let phases = &self.found().program().blocks[group.coupling.layer].phases;
        let phase = phases.iter().find(|phase| group.units_in(phase).is_some());
        let phase = phase.expect("a phase multiplies the units");
        let follows = group.adds_to_hidden(phase);
        Box::new(UnitGroup {
            stage: self,
            group,
            watched: group.watched_in(phase),
            follows,
            sums: Observed::new(group, self.plan.recipe.needs_gram(), follows),
        })
    }
}

/// The units of a group.
struct UnitGroup<'s> {
    stage: &'s PruneStage<'s>,
    group: &'s PruneGroup,
    watched: Vec<Tap>,
    /// Whether the original's stream behind the phase says what the reader should give.
    follows: bool,
    sums: Observed,
}

impl Group for UnitGroup<'_> {
    fn watched(&self) -> &[Tap] {
        &self.watched
    }

    fn add(&mut self, seen: Seen<'_>) -> Result<(), Error> {
        let original = seen.before.filter(|_| self.follows);
        let original = original.map(|before| before.hidden(seen.batch)).transpose()?;
        let own = seen.taps.hidden();
        let behind = original.as_ref().zip(own);
        let behind = behind.map(|(original, own)| (original.values(), own.values()));
        self.sums.add(self.stage.plan.engine.gemm(), &seen.watched[0], behind);
        if let Some(inputs) = seen.watched.into_iter().nth(1) {
            *seen.taps = Taps::new(inputs);
        }
        Ok(())
    }

    fn rewrite(self: Box<Self>, streams: Streams<'_>) -> Result<(), Error> {
        let Self { stage, group, sums, .. } = *self;
        let batches = stage.context.batches;
        let tokens = match (&group.gated, streams.seen, streams.before) {
            (Some(_), Some(inputs), Some(original)) => {
                Some(Tokens { inputs, own: streams.rewritten, original, batches: batches.len() })
            }
            _ => None,
        };
        stage.prune(group, Some((&sums, tokens)))?;
        stage.context.meter.did(stage.plan.seen(group, batches.tokens()));
        Ok(())
    }
}
