//! The loop: read this first.
//!
//! Each stage has the stream of what it writes, and compares it with that of the model before it: the
//! source's, or what the stage before has written. A phase is rewritten by one stage after the other, and
//! each stream goes through it once.

use crate::block_runs::BlockRuns;
use crate::stage::{Part, Stage, Step, Streams};
use crate::stream::{StageStreams, Stream};
use llmopt_arch::program::Phase;
use llmopt_forward::Weights;
use llmopt_run::Error;
use llmopt_sweep::{Store, count};

/// A sweep of several stages, each behind the one before it.
pub struct Sweep<'a> {
    /// In their order.
    pub stages: Vec<&'a dyn Stage>,
    /// Whether all are observed on the same tokens by the same kernel, so that what one stage has written
    /// is carried once.
    pub shares: bool,
}

impl Sweep<'_> {
    /// Takes the streams through the blocks until nothing is left to be rewritten. Tells how often those of
    /// each stage ran what they ran.
    ///
    /// # Errors
    /// If the model cannot be read, computes NaN or infinity, or a stage refuses.
    pub fn run(&self) -> Result<Vec<Option<BlockRuns>>, Error> {
        if self.is_done() {
            return Ok(vec![None; self.stages.len()]);
        }
        let mut streams = self.embedded()?;
        let blocks = &self.stages[0].written().program().blocks;
        for (block, phases) in blocks.iter().map(|block| block.phases.len()).enumerate() {
            for phase in 0..phases {
                for number in 0..self.stages.len() {
                    self.pass_phase(number, (block, phase), &mut streams)?;
                }
            }
        }
        Ok(streams.iter().map(StageStreams::block_runs).collect())
    }

    fn is_done(&self) -> bool {
        self.stages.iter().all(|stage| stage.is_done())
    }

    fn embedded(&self) -> Result<Vec<StageStreams>, Error> {
        let mut streams: Vec<StageStreams> = Vec::new();
        for &stage in &self.stages {
            let before = streams.last().filter(|_| self.shares);
            streams.push(StageStreams::embedded(stage, before)?);
        }
        Ok(streams)
    }

    /// Has a stage go through a phase, as long as it has anything to rewrite.
    fn pass_phase(
        &self,
        number: usize,
        (block, phase): (usize, usize),
        streams: &mut [StageStreams],
    ) -> Result<(), Error> {
        let stage = self.stages[number];
        if stage.is_done() {
            return Ok(());
        }
        let (earlier, later) = streams.split_at_mut(number);
        let StageStreams { before, rewritten } = &mut later[0];
        let shared = earlier.last_mut().filter(|_| self.shares && stage.compares());
        let carries = shared.is_some() && !self.stages[number - 1].is_done();
        let before = shared.map(|streams| &mut streams.rewritten).or(before.as_mut());
        // A stage that compares takes the stream before it along.
        let next = self.stages.get(number + 1).filter(|next| self.shares && next.compares());
        let left = next.is_some_and(|next| !next.is_done());
        let mut passing = Passing { stage, before, rewritten, left, carries };
        stage.steps(block, phase)?.iter().try_for_each(|step| passing.pass(step))
    }
}

/// A stage with the streams that it takes along.
struct Passing<'s> {
    stage: &'s dyn Stage,
    before: Option<&'s mut Stream>,
    rewritten: &'s mut Stream,
    /// Whether the stage behind takes the artifact's stream along.
    left: bool,
    /// Whether the stage before goes on with the stream that this one takes along for it.
    carries: bool,
}

impl Passing<'_> {
    /// Observes the groups of a step and rewrites them, and takes the streams through.
    fn pass(&mut self, step: &Step) -> Result<(), Error> {
        let observes = step.parts.iter().any(|part| part.group.is_some());
        if self.left && !observes {
            return step.parts.iter().try_for_each(|part| self.advance_before(part).map(drop));
        }
        let context = self.stage.context();
        let apart = self.left || step.as_found;
        let mut copy = apart.then(|| context.copied(&self.rewritten.store)).transpose()?;
        for part in &step.parts {
            match self.stage.is_done() {
                false => self.pass_part(part, step.as_found, copy.as_mut())?,
                true if self.carries => self.advance_before(part).map(drop)?,
                // Nothing behind is observed.
                true => return Ok(()),
            }
        }
        drop(copy);
        if step.as_found && !self.left && !self.stage.is_done() {
            step.parts.iter().try_for_each(|part| self.advance_rewritten(part))?;
        }
        Ok(())
    }

    /// Takes the stream before through a part, then the artifact's, or a copy of it that ends with the
    /// step; the group behind the part is observed meanwhile, and rewritten.
    fn pass_part(
        &mut self,
        part: &Part,
        as_found: bool,
        copy: Option<&mut Store>,
    ) -> Result<(), Error> {
        let (stage, context) = (self.stage, self.stage.context());
        let found = self.advance_before(part)?;
        let (variant, phase) = match as_found {
            true => (stage.found(), &part.found[0]),
            false => (stage.written(), &part.written),
        };
        let weights = match found.filter(|_| as_found) {
            Some(weights) => weights,
            None if as_found => self.found_weights(phase)?,
            None => self.written_weights(phase)?,
        };
        self.rewritten.multiplied.add(phase, context.batches.tokens());
        let Some(number) = part.group else {
            let store = copy.unwrap_or(&mut self.rewritten.store);
            return context.run(variant, (phase, &weights), store);
        };
        let mut group = stage.group(number);
        let before = self.before.as_ref().map(|stream| &stream.store);
        let seen = match copy {
            Some(copy) => {
                context.show(variant, (phase, &weights), copy, before, &mut *group)?;
                Some(&*copy)
            }
            None => {
                let rewritten = &mut self.rewritten.store;
                context.show(variant, (phase, &weights), rewritten, before, &mut *group)?;
                None
            }
        };
        drop(weights);
        group.rewrite(Streams { seen, rewritten: &self.rewritten.store, before })?;
        // What solvers worked in must not lie beside the next part's weights.
        context.engine.release();
        Ok(())
    }

    /// Takes the stream before, if it is compared with, through a part. Returns its weights, unless those
    /// of what comes behind needed their room.
    fn advance_before(&mut self, part: &Part) -> Result<Option<Weights>, Error> {
        let (stage, context) = (self.stage, self.stage.context());
        let Some(stream) = &mut self.before else { return Ok(None) };
        let mut kept = None;
        for phase in &part.found {
            drop(kept.take());
            context.meter.did(count::weights(phase));
            let weights = stage.found().weights(phase, context.engine.gemm())?;
            stream.advance(stage.found(), (phase, &weights), context)?;
            kept = Some(weights);
        }
        Ok(kept.filter(|_| part.found.len() == 1))
    }

    /// Takes the artifact's stream through a part.
    fn advance_rewritten(&mut self, part: &Part) -> Result<(), Error> {
        let weights = self.written_weights(&part.written)?;
        let context = self.stage.context();
        self.rewritten.advance(self.stage.written(), (&part.written, &weights), context)
    }

    fn found_weights(&self, phase: &Phase) -> Result<Weights, Error> {
        let context = self.stage.context();
        context.meter.did(count::weights(phase));
        self.stage.found().weights(phase, context.engine.gemm())
    }

    fn written_weights(&self, phase: &Phase) -> Result<Weights, Error> {
        self.stage.context().meter.did(count::weights(phase));
        self.stage.written_weights(phase)
    }
}
