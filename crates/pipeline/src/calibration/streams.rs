//! The streams of hidden states that a calibrated sweep carries.

use crate::calibration::block_runs::{BlockRuns, Multiplied};
use crate::calibration::sweep::Sweep;
use llmopt_arch::program::Phase;
use llmopt_forward::{Taps, Weights};
use llmopt_run::Error;
use llmopt_sweep::{Batches, Runner, Store, embedded};

/// Hidden states of all batches, between two segments of a block.
pub(super) struct Streams {
    /// Through the blocks as they are rewritten.
    pub(super) rewritten: Stream,
    /// Through the blocks as they were found, where a method compares the two.
    pub(super) original: Option<Stream>,
}

/// One of them.
pub(super) struct Stream {
    pub(super) store: Store,
    multiplied: Multiplied,
}

impl Streams {
    /// How often the blocks were run.
    pub(super) fn block_runs(&self) -> Option<BlockRuns> {
        let original = self.original.as_ref().and_then(|stream| stream.multiplied.runs());
        Some(BlockRuns { original, rewritten: self.rewritten.multiplied.runs()? })
    }
}

impl Stream {
    fn new(store: Store, batches: &Batches) -> Self {
        Self { store, multiplied: Multiplied::new(batches.tokens()) }
    }

    /// Takes out what a batch carries, and through a phase.
    pub(super) fn through(
        &mut self,
        runner: Runner<'_>,
        phase: &Phase,
        weights: &Weights,
        batch: usize,
    ) -> Result<Taps, Error> {
        self.multiplied.add(phase, runner.batches.rows_of(batch));
        runner.through(phase, weights, &mut self.store, batch)
    }
}

impl Sweep<'_> {
    /// The streams as they leave the embedding.
    pub(super) fn embedded(&self) -> Result<Streams, Error> {
        let rewritten = embedded(self.variant(), self.batches(), self.store()?)?;
        let original = match self.calibration.needs().cross {
            true => Some(self.copied(&rewritten)?),
            false => None,
        };
        let stream = |store| Stream::new(store, self.batches());
        Ok(Streams { rewritten: stream(rewritten), original: original.map(stream) })
    }

    pub(super) fn copied(&self, store: &Store) -> Result<Store, Error> {
        store.copied(|| self.store())
    }

    pub(super) fn runner(&self) -> Runner<'_> {
        let engine = &self.calibration.engine;
        Runner {
            variant: self.variant(),
            batches: self.batches(),
            engine,
            cancel: self.cancel,
            meter: &self.meter,
            times: 1.0,
        }
    }

    fn store(&self) -> Result<Store, Error> {
        let memory = &self.calibration.memory;
        let folder = memory.spills.then_some(self.calibration.scratch.as_path());
        Store::of_width(memory.width, self.batches(), folder)
    }
}
