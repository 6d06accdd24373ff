//! A stage that rewrites nothing: what the sites of each phase see in the model as it is.

use llmopt_arch::program::{Phase, Program, Tap};
use llmopt_calib::{InputSite, Needs, Observation};
use llmopt_forward::Weights;
use llmopt_model::Variant;
use llmopt_rewrite::{Context, Group, Part, Seen, Stage, Step, Streams, Sweep};
use llmopt_run::Error;
use llmopt_sweep::count::share_of_expert;
use llmopt_sweep::{Kind, Work};
use std::sync::{Mutex, PoisonError};

/// A model that is observed.
pub(super) struct Observing<'a> {
    pub(super) variant: &'a Variant,
    pub(super) context: Context<'a>,
    /// The sites of each block, as far as it is run.
    pub(super) sites: &'a [Vec<InputSite>],
    pub(super) needs: Needs,
}

/// What the sites of a phase have seen.
pub(super) struct ObservedPhase<'o> {
    /// The number of the block.
    pub(super) block: usize,
    /// Whether it is the last of the block.
    pub(super) is_last: bool,
    pub(super) sites: Vec<(&'o InputSite, Observation)>,
}

/// Who is shown each phase.
type Show<'a> = dyn FnMut(ObservedPhase<'_>) -> Result<(), Error> + Send + 'a;

impl Observing<'_> {
    /// Runs the model, and shows phase after phase.
    ///
    /// # Errors
    /// If the model cannot be read, or computes NaN or infinity; those of `show`.
    pub(super) fn run(&self, show: &mut Show<'_>) -> Result<(), Error> {
        let blocks = &self.variant.program().blocks[..self.sites.len()];
        let left = blocks.iter().map(|block| block.phases.len()).sum();
        let shown = Shown { observing: self, show: Mutex::new((left, show)) };
        Sweep { stages: vec![&shown], shares: false }.run().map(drop)
    }
}

/// The stage under way.
struct Shown<'s> {
    observing: &'s Observing<'s>,
    /// Phases that are left, and who is shown them.
    show: Mutex<(usize, &'s mut Show<'s>)>,
}

impl Stage for Shown<'_> {
    fn context(&self) -> &Context<'_> {
        &self.observing.context
    }

    fn found(&self) -> &Variant {
        self.observing.variant
    }

    fn written(&self) -> &Variant {
        self.found()
    }

    fn written_weights(&self, phase: &Phase) -> Result<Weights, Error> {
        self.found().weights(phase, self.observing.context.engine.gemm())
    }

    fn compares(&self) -> bool {
        false
    }

    fn is_done(&self) -> bool {
        self.show.lock().unwrap_or_else(PoisonError::into_inner).0 == 0
    }

    fn steps(&self, block: usize, phase: usize) -> Result<Vec<Step>, Error> {
        let blocks = &self.found().program().blocks;
        let before: usize = blocks[..block].iter().map(|block| block.phases.len()).sum();
        let written = blocks[block].phases[phase].clone();
        let part = Part { found: Vec::new(), written, group: Some(before + phase) };
        Ok(vec![Step { as_found: false, parts: vec![part] }])
    }

    fn group(&self, number: usize) -> Box<dyn Group + '_> {
        let (mut block, mut phase) = (0, number);
        let phases = |block: usize| self.found().program().blocks[block].phases.len();
        while phase >= phases(block) {
            phase -= phases(block);
            block += 1;
        }
        let sites = self.observing.sites[block].iter().filter(|site| site.phase == phase);
        let needs = self.observing.needs;
        let mut seen: Vec<(&InputSite, Observation)> = Vec::new();
        for site in sites {
            seen.push((site, Observation::new(site.extent, needs)));
        }
        let taps = seen.iter().map(|(site, _)| site.tap).collect();
        let is_last = phase + 1 == phases(block);
        Box::new(PhaseGroup {
            stage: self,
            taps,
            seen: ObservedPhase { block, is_last, sites: seen },
        })
    }
}

/// The sites of a phase.
struct PhaseGroup<'s, 'o> {
    stage: &'s Shown<'o>,
    taps: Vec<Tap>,
    seen: ObservedPhase<'s>,
}

impl Group for PhaseGroup<'_, '_> {
    fn watched(&self) -> &[Tap] {
        &self.taps
    }

    fn add(&mut self, seen: Seen<'_>) -> Result<(), Error> {
        let Observing { variant, context, .. } = self.stage.observing;
        let tokens = context.batches.rows_of(seen.batch);
        for ((site, sums), inputs) in self.seen.sites.iter_mut().zip(&seen.watched) {
            sums.add(context.engine.gemm(), inputs);
            context.meter.did(adding(variant.program(), site, tokens));
        }
        Ok(())
    }

    fn rewrite(self: Box<Self>, _: Streams<'_>) -> Result<(), Error> {
        let mut show = self.stage.show.lock().unwrap_or_else(PoisonError::into_inner);
        (show.1)(self.seen)?;
        show.0 -= 1;
        Ok(())
    }
}

/// Adding the tokens of a batch to the sums of their columns.
pub(super) fn adding(program: &Program, site: &InputSite, tokens: usize) -> Work {
    let share = site.expert.map_or(1.0, |_| share_of_expert(program));
    Work::of(Kind::Sums, tokens as f64 * share * site.extent.columns as f64)
}
