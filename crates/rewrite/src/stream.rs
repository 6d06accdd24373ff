//! The streams of hidden states that a sweep carries.

use crate::block_runs::{BlockRuns, Multiplied};
use crate::stage::{Context, Group, Seen, Stage};
use llmopt_arch::program::Phase;
use llmopt_forward::Weights;
use llmopt_model::Variant;
use llmopt_run::Error;
use llmopt_sweep::{Runner, Store, embedded};

/// Hidden states of all batches, and how often they were multiplied.
pub(crate) struct Stream {
    pub(crate) store: Store,
    pub(crate) multiplied: Multiplied,
}

impl Stream {
    /// As it leaves the embedding of `variant`.
    pub(crate) fn embedded(variant: &Variant, context: &Context<'_>) -> Result<Self, Error> {
        let store = embedded(variant, context.batches, context.store()?)?;
        Ok(Self::of(store, context))
    }

    /// A second one at the same place.
    pub(crate) fn copied(&self, context: &Context<'_>) -> Result<Self, Error> {
        Ok(Self::of(context.copied(&self.store)?, context))
    }

    fn of(store: Store, context: &Context<'_>) -> Self {
        Self { store, multiplied: Multiplied::new(context.batches.tokens()) }
    }

    /// Takes every batch through a part of `variant`.
    pub(crate) fn advance(
        &mut self,
        variant: &Variant,
        (phase, weights): (&Phase, &Weights),
        context: &Context<'_>,
    ) -> Result<(), Error> {
        self.multiplied.add(phase, context.batches.tokens());
        context.run(variant, (phase, weights), &mut self.store)
    }
}

impl Context<'_> {
    /// Takes every batch of `store` through a part of `variant`.
    pub(crate) fn run(
        &self,
        variant: &Variant,
        (phase, weights): (&Phase, &Weights),
        store: &mut Store,
    ) -> Result<(), Error> {
        self.runner(variant).run(phase, weights, store)
    }

    /// Takes every batch of `store` through a part of `variant`, and shows it to a group.
    pub(crate) fn show(
        &self,
        variant: &Variant,
        (phase, weights): (&Phase, &Weights),
        store: &mut Store,
        before: Option<&Store>,
        group: &mut dyn Group,
    ) -> Result<(), Error> {
        let runner = self.runner(variant);
        let watched = group.watched().to_vec();
        for batch in 0..self.batches.len() {
            let (mut taps, watched) = runner.through(phase, weights, store, batch, &watched)?;
            group.add(Seen { batch, taps: &mut taps, watched, before })?;
            store.put(batch, taps)?;
        }
        self.engine.release();
        Ok(())
    }

    pub(crate) fn copied(&self, store: &Store) -> Result<Store, Error> {
        store.copied(|| self.store())
    }

    fn store(&self) -> Result<Store, Error> {
        Store::of_width(self.width, self.batches, self.spill)
    }

    fn runner<'r>(&'r self, variant: &'r Variant) -> Runner<'r> {
        let Self { batches, engine, cancel, meter, .. } = self;
        Runner { variant, batches, engine, cancel, meter, times: 1.0 }
    }
}

/// The streams of one stage.
pub(crate) struct StageStreams {
    /// Through the model before, where that is compared with and no other stage carries it.
    pub(crate) before: Option<Stream>,
    /// Through the artifact.
    pub(crate) rewritten: Stream,
}

impl StageStreams {
    /// As they leave the embedding; `before` is the artifact's stream of the stage before, if it is on the
    /// same tokens.
    pub(crate) fn embedded(stage: &dyn Stage, before: Option<&Self>) -> Result<Self, Error> {
        let context = stage.context();
        let rewritten = match before {
            Some(streams) => streams.rewritten.copied(context)?,
            None => Stream::embedded(stage.found(), context)?,
        };
        let carries = stage.compares() && before.is_none();
        let before = carries.then(|| rewritten.copied(context)).transpose()?;
        Ok(Self { before, rewritten })
    }

    /// How often the blocks were run.
    pub(crate) fn block_runs(&self) -> Option<BlockRuns> {
        let before = self.before.as_ref().map(|stream| &stream.multiplied);
        BlockRuns::of(before, &self.rewritten.multiplied)
    }
}
