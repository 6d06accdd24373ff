//! The streams of hidden states that a calibrated sweep carries.

use crate::calibration::sweep::Sweep;
use llmopt_arch::program::Block;
use llmopt_run::Error;
use llmopt_sweep::{Runner, Store, embedded};
use std::path::Path;

/// Hidden states of all batches, between two blocks.
pub(super) struct Streams {
    /// Through the blocks as they were rewritten.
    pub(super) own: Store,
    /// Through the blocks as they were found, where a method compares the two.
    pub(super) original: Option<Store>,
}

impl Sweep<'_> {
    /// The streams as they leave the embedding.
    pub(super) fn embedded(&self) -> Result<Streams, Error> {
        let own = embedded(self.variant(), self.batches(), self.folder())?;
        let original = match self.calibration.needs().cross {
            true => Some(self.copied(&own)?),
            false => None,
        };
        Ok(Streams { own, original })
    }

    /// Takes its own stream through the block as it was rewritten, and the original as it was found.
    pub(super) fn advance(&self, block: &Block, streams: &mut Streams) -> Result<(), Error> {
        let gemm = self.calibration.engine.gemm();
        for phase in &block.phases {
            self.meter.did(self.calibration.calibrating().fetching(phase));
            let weights = self.variant().weights_under(&self.written(), phase, gemm)?;
            self.runner().run(phase, &weights, &mut streams.own)?;
            if let Some(original) = &mut streams.original {
                let weights = self.variant().weights(phase, gemm)?;
                self.runner().run(phase, &weights, original)?;
            }
        }
        Ok(())
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
        Store::new(self.variant().program(), self.batches(), self.folder())
    }

    fn folder(&self) -> Option<&Path> {
        self.calibration.memory.spills.then_some(self.calibration.scratch.as_path())
    }
}
