//! One model's phases, run on every batch of a store.

use crate::batches::Batches;
use crate::count;
use crate::meter::Meter;
use crate::store::Store;
use llmopt_arch::program::{Phase, Tap};
use llmopt_forward::{Engine, Matrix, Taps, Weights};
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error};

/// Runs phases of a model.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    /// The model.
    pub variant: &'a Variant,
    /// The tokens.
    pub batches: &'a Batches,
    /// What computes.
    pub engine: &'a Engine,
    /// Whether the run is to stop.
    pub cancel: &'a Cancel,
    /// What a phase of a batch is told to, as often as it counts.
    pub meter: &'a Meter<'a>,
    /// How many models a run stands for.
    pub times: f64,
}

impl Runner<'_> {
    /// Takes every batch through a phase.
    pub fn run(&self, phase: &Phase, weights: &Weights, store: &mut Store) -> Result<(), Error> {
        for batch in 0..self.batches.len() {
            let (taps, _) = self.through(phase, weights, store, batch, &[])?;
            store.put(batch, taps)?;
        }
        // What the engine keeps for the next batch must not lie beside the next phase's weights.
        self.engine.release();
        Ok(())
    }

    /// Takes out what a batch carries, and through a phase; and what the taps `watched` held.
    pub fn through(
        &self,
        phase: &Phase,
        weights: &Weights,
        store: &mut Store,
        batch: usize,
        watched: &[Tap],
    ) -> Result<(Taps, Vec<Matrix>), Error> {
        let mut taps = store.take(batch)?;
        let seen = self.ran(phase, weights, &mut taps, batch, watched)?;
        Ok((taps, seen))
    }

    /// Takes one batch through a phase, and returns what the taps `watched` held.
    pub fn observe(
        &self,
        phase: &Phase,
        weights: &Weights,
        store: &mut Store,
        batch: usize,
        watched: &[Tap],
    ) -> Result<Vec<Matrix>, Error> {
        let (taps, seen) = self.through(phase, weights, store, batch, watched)?;
        store.put(batch, taps)?;
        Ok(seen)
    }

    fn ran(
        &self,
        phase: &Phase,
        weights: &Weights,
        taps: &mut Taps,
        batch: usize,
        watched: &[Tap],
    ) -> Result<Vec<Matrix>, Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        let shape = self.batches.shape_of(batch);
        let program = self.variant.program();
        let seen = self.engine.observe(program, phase, weights, &shape, taps, watched);
        let seen = seen.map_err(|error| self.variant.failed(error))?;
        self.meter.did(count::phase(program, phase, &shape) * self.times);
        Ok(seen)
    }
}
