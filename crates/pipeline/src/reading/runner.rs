//! One model's phases, run on every batch of a store.

use super::Batches;
use super::store::Store;
use crate::estimate::{self, Meter};
use crate::variant::Variant;
use crate::{Cancel, Error};
use llmopt_arch::program::{Phase, Tap};
use llmopt_forward::{Engine, Matrix, Weights};

/// Runs phases of a model.
#[derive(Clone, Copy)]
pub(crate) struct Runner<'a> {
    pub(crate) variant: &'a Variant,
    pub(crate) batches: &'a Batches,
    pub(crate) engine: &'a Engine,
    pub(crate) cancel: &'a Cancel,
    /// What a phase of a batch is told to, as often as it counts.
    pub(crate) meter: &'a Meter<'a>,
    pub(crate) times: f64,
}

impl Runner<'_> {
    /// Takes every batch through a phase.
    pub(crate) fn run(
        &self,
        phase: &Phase,
        weights: &Weights,
        store: &mut Store,
    ) -> Result<(), Error> {
        for batch in 0..self.batches.len() {
            self.observe(phase, weights, store, batch, &[])?;
        }
        // What the engine keeps for the next batch must not lie beside the next phase's weights.
        self.engine.release();
        Ok(())
    }

    /// Takes one batch through a phase, and returns what the taps `watched` held.
    pub(crate) fn observe(
        &self,
        phase: &Phase,
        weights: &Weights,
        store: &mut Store,
        batch: usize,
        watched: &[Tap],
    ) -> Result<Vec<Matrix>, Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        let shape = self.batches.shape_of(batch);
        let program = self.variant.program();
        let mut taps = store.take(batch)?;
        let seen = self.engine.observe(program, phase, weights, &shape, &mut taps, watched);
        let seen = seen.map_err(|error| self.variant.failed(error))?;
        store.put(batch, taps)?;
        self.meter.did(estimate::phase(program, phase, &shape) * self.times);
        Ok(seen)
    }
}
