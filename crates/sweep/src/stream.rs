//! One stream of hidden states, and the models that share it.

use crate::count;
use crate::meter::Meter;
use crate::reading::Reading;
use crate::run::Run;
use crate::runner::Runner;
use crate::store::Store;
use llmopt_arch::program::{Phase, Program};
use llmopt_forward::{Matrix, Taps};
use llmopt_model::Variant;
use llmopt_run::Error;
use std::borrow::Cow;

/// Hidden states of every batch.
pub(crate) struct Stream {
    /// The models that computed the same so far, in order; never empty.
    members: Vec<usize>,
    pub(crate) store: Store,
}

impl Stream {
    /// The model whose weights are used for all.
    pub(crate) fn leader(&self) -> usize {
        self.members[0]
    }

    /// How many models share it.
    pub(crate) fn count(&self) -> f64 {
        self.members.len() as f64
    }

    pub(crate) fn carries(&self, variant: usize) -> bool {
        self.members.contains(&variant)
    }

    /// Forks off the members for which `leaves` holds.
    pub(crate) fn fork(
        &mut self,
        leaves: impl Fn(usize) -> Result<bool, Error>,
        copy: impl Fn(&Store) -> Result<Store, Error>,
    ) -> Result<Option<Self>, Error> {
        let (mut stay, mut gone) = (Vec::new(), Vec::new());
        for &member in &self.members {
            if leaves(member)? { gone.push(member) } else { stay.push(member) }
        }
        if gone.is_empty() {
            return Ok(None);
        }
        self.members = stay;
        Ok(Some(Self { members: gone, store: copy(&self.store)? }))
    }
}

impl Reading<'_> {
    /// The streams that leave the embeddings: one for all models whose embeddings agree on these
    /// tokens.
    pub(crate) fn embedded(&self) -> Result<Vec<Stream>, Error> {
        let mut streams: Vec<Stream> = Vec::new();
        for (number, variant) in self.variants.iter().enumerate() {
            let mut joined = None;
            for (place, stream) in streams.iter().enumerate() {
                if self.embeds_as(variant, stream)? {
                    joined = Some(place);
                    break;
                }
            }
            match joined {
                Some(place) => streams[place].members.push(number),
                None => {
                    let mut store = self.store(variant.program())?;
                    for batch in 0..self.batches.len() {
                        let hidden = variant.embedded(self.batches.tokens_of(batch))?;
                        store.put(batch, Taps::new(hidden))?;
                    }
                    streams.push(Stream { members: vec![number], store });
                }
            }
        }
        Ok(streams)
    }

    fn embeds_as(&self, variant: &Variant, stream: &Stream) -> Result<bool, Error> {
        let leader = &self.variants[stream.leader()];
        if variant.program().taps != leader.program().taps {
            return Ok(false);
        }
        for batch in 0..self.batches.len() {
            if variant.embedded(self.batches.tokens_of(batch))?
                != leader.embedded(self.batches.tokens_of(batch))?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forks off the models of a stream that do not compute what its leader does in this phase.
    pub(crate) fn parted(
        &self,
        stream: &mut Stream,
        layer: usize,
        number: usize,
    ) -> Result<Option<Stream>, Error> {
        let leader = &self.variants[stream.leader()];
        let phase = &leader.program().blocks[layer].phases[number];
        let leaves = |member: usize| {
            let other = &self.variants[member];
            let theirs =
                other.program().blocks.get(layer).and_then(|block| block.phases.get(number));
            match theirs {
                _ if std::ptr::eq(other, leader) => Ok(false),
                Some(theirs) => Ok(!leader.computes_as(phase, other, theirs)?),
                None => Ok(true),
            }
        };
        stream.fork(leaves, |store| store.copied(|| self.store(leader.program())))
    }

    /// Runs a phase of the leader on every batch.
    pub(crate) fn run(
        &self,
        stream: &mut Stream,
        phase: &Phase,
        meter: &Meter<'_>,
    ) -> Result<(), Error> {
        let leader = &self.variants[stream.leader()];
        let weights = leader.weights(phase, self.run.engine.gemm())?;
        let Run { engine, cancel, .. } = self.run;
        let batches = self.batches;
        // Models that part later would run as much each.
        let times = stream.count();
        meter.did(count::weights(phase) * times);
        let runner = Runner { variant: leader, batches, engine, cancel, meter, times };
        runner.run(phase, &weights, &mut stream.store)?;
        self.run.events.advanced(leader.stored_bytes(phase), &phase.name);
        Ok(())
    }

    /// The hidden states of a batch, of every stream.
    pub(crate) fn hidden_of_all<'s>(
        &self,
        streams: &'s [Stream],
        batch: usize,
    ) -> Result<Vec<Cow<'s, Matrix>>, Error> {
        streams.iter().map(|stream| stream.store.hidden(batch)).collect()
    }

    pub(crate) fn store(&self, program: &Program) -> Result<Store, Error> {
        Store::new(program, self.batches, self.memory.spills.then_some(self.run.scratch))
    }
}
