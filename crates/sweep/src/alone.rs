//! One model's block on the hidden states of another: what the block alone changes.

use crate::batches::Batches;
use crate::count;
use crate::meter::Meter;
use crate::reading::Reading;
use crate::run::Run;
use crate::runner::Runner;
use crate::store::{Store, carried_width};
use crate::stream::Stream;
use crate::work::Work;
use llmopt_forward::{Matrix, Taps};
use llmopt_model::Variant;
use llmopt_run::Error;
use std::borrow::Cow;

impl Reading<'_> {
    /// The first batch behind a layer of the second model, from what the first model's hidden states
    /// are before it. Errors of the layers before have no part in it. None, where there is no second
    /// model, or its layers are others.
    pub(crate) fn alone(
        &self,
        streams: &[Stream],
        layer: usize,
        meter: &Meter<'_>,
    ) -> Result<Option<Matrix>, Error> {
        let [_, variant] = self.variants else { return Ok(None) };
        let (true, Some(stream)) = (self.layers_agree(), streams.iter().find(|s| s.carries(0)))
        else {
            return Ok(None);
        };
        let Run { engine, cancel, .. } = self.run;
        let batches = self.batches;
        let mut store = Store::new(variant.program(), batches, None)?;
        store.put(BATCH, Taps::new(stream.store.hidden(BATCH)?.into_owned()))?;
        let runner = Runner { variant, batches, engine, cancel, meter, times: 1.0 };
        for phase in &variant.program().blocks[layer].phases {
            let weights = variant.weights(phase, engine.gemm())?;
            meter.did(count::weights(phase));
            runner.observe(phase, &weights, &mut store, BATCH, &[])?;
            engine.release();
        }
        Ok(Some(store.hidden(BATCH)?.into_owned()))
    }

    /// The hidden states of the first model that it is to be held against, after the layer.
    pub(crate) fn beside_alone<'s>(
        &self,
        streams: &'s [Stream],
    ) -> Result<Option<Cow<'s, Matrix>>, Error> {
        let stream = streams.iter().find(|stream| stream.carries(0));
        stream.map(|stream| stream.store.hidden(BATCH)).transpose()
    }
}

/// What running every block of the second of `variants` so takes.
pub fn alone_work(variants: &[Variant], batches: &Batches) -> Work {
    let [_, variant] = variants else { return Work::default() };
    let (program, shape) = (variant.program(), batches.shape_of(BATCH));
    let phases = program.blocks.iter().flat_map(|block| &block.phases);
    phases.map(|phase| count::weights(phase) + count::phase(program, phase, &shape)).sum()
}

/// Bytes that a batch takes which is run so.
pub fn alone_bytes(variant: &Variant, batches: &Batches) -> u64 {
    let width = carried_width(variant.program()) + variant.program().hidden;
    (width * batches.rows_of(BATCH) * size_of::<f32>()) as u64
}

/// Tokens of the batch that is run so.
pub fn alone_tokens(batches: &Batches) -> usize {
    batches.rows_of(BATCH)
}

/// The batch that is run: the first tokens are enough to tell blocks apart.
const BATCH: usize = 0;
