//! The reading sweep: several models side by side, block after block, on the same sequences.
//!
//! One site group of one model is in memory at a time. Models that agree in everything so far share
//! one stream of hidden states; where they part, the stream is forked. What a sweep is for is the
//! affair of its [`Judge`].

use crate::alone::alone_work;
use crate::batches::Batches;
use crate::budget::ReadingMemory;
use crate::count;
use crate::meter::Meter;
use crate::run::Run;
use crate::stream::Stream;
use crate::work::Work;
use llmopt_forward::Matrix;
use llmopt_model::Variant;
use llmopt_run::Error;

/// What is read, and with what.
pub struct Reading<'a> {
    /// The models, side by side.
    pub variants: &'a [Variant],
    /// The tokens.
    pub batches: &'a Batches,
    /// How much is held in memory.
    pub memory: &'a ReadingMemory,
    /// With what it is carried out.
    pub run: Run<'a>,
}

/// Who looks on. Whatever is shown comes in the order of the variants.
pub trait Judge {
    /// The hidden states of a batch after a layer, of all models or, where some have fewer layers, of
    /// none.
    fn after_layer(&mut self, layer: usize, hidden: &[&Matrix]) -> Result<(), Error>;

    /// Whether [`Judge::after_block_alone`] is to be shown anything: it costs another reading of the
    /// second model, and a run of one batch.
    fn wants_blocks_alone(&self) -> bool {
        false
    }

    /// Hidden states of some tokens after a layer of the first model, and after that layer of the
    /// second, both from those of the first model before it.
    fn after_block_alone(&mut self, _layer: usize, _first: &Matrix, _second: &Matrix) {}

    /// Logits of the positions of a batch that are asked for, from token `first` of the vocabulary
    /// on.
    fn logits(&mut self, batch: usize, first: usize, logits: &[&Matrix]) -> Result<(), Error>;
}

impl Reading<'_> {
    /// Reads the models once, from the embedding to the logits.
    ///
    /// # Errors
    /// If a model cannot be read, or computes NaN or infinity.
    pub fn sweep(&self, judge: &mut dyn Judge) -> Result<(), Error> {
        let alone = match judge.wants_blocks_alone() {
            true => alone_work(self.variants, self.batches),
            false => Work::default(),
        };
        let meter = Meter::new(self.run.events, self.work() + alone);
        let mut streams = self.embedded()?;
        for layer in 0..self.layers() {
            let alone = match judge.wants_blocks_alone() {
                true => self.alone(&streams, layer, &meter)?,
                false => None,
            };
            streams = self.advanced(streams, layer, &meter)?;
            self.show(&streams, layer, judge)?;
            if let (Some(alone), Some(first)) = (alone, self.beside_alone(&streams)?) {
                judge.after_block_alone(layer, &first, &alone);
            }
        }
        self.judge_logits(streams, &meter, judge)
    }

    /// Takes every stream through a layer. A stream whose models part is forked at the phase where they
    /// do.
    fn advanced(
        &self,
        streams: Vec<Stream>,
        layer: usize,
        meter: &Meter<'_>,
    ) -> Result<Vec<Stream>, Error> {
        let mut waiting: Vec<(Stream, usize)> =
            streams.into_iter().rev().map(|stream| (stream, 0)).collect();
        let mut done = Vec::new();
        while let Some((mut stream, first)) = waiting.pop() {
            let Some(block) = self.variants[stream.leader()].program().blocks.get(layer) else {
                done.push(stream);
                continue;
            };
            for (number, phase) in block.phases.iter().enumerate().skip(first) {
                if let Some(parted) = self.parted(&mut stream, layer, number)? {
                    waiting.push((parted, number));
                }
                self.run(&mut stream, phase, meter)?;
            }
            done.push(stream);
        }
        Ok(done)
    }

    fn show(&self, streams: &[Stream], layer: usize, judge: &mut dyn Judge) -> Result<(), Error> {
        if !self.layers_agree() {
            return Ok(());
        }
        for batch in 0..self.batches.len() {
            let hidden = self.hidden_of_all(streams, batch)?;
            let hidden: Vec<&Matrix> = hidden.iter().map(|hidden| &**hidden).collect();
            judge.after_layer(layer, &self.by_variant(streams, &hidden))?;
        }
        Ok(())
    }

    /// Whether hidden states after a layer can be held against each other.
    pub(crate) fn layers_agree(&self) -> bool {
        let shape = |variant: &Variant| (variant.program().blocks.len(), variant.program().hidden);
        self.variants.iter().all(|variant| shape(variant) == shape(&self.variants[0]))
    }

    /// Bytes of weights that a sweep goes through, where no two models agree.
    pub fn bytes(&self) -> u64 {
        let phases = |variant: &Variant| -> u64 {
            let phases = variant.program().blocks.iter().flat_map(|block| &block.phases);
            phases.map(|phase| variant.stored_bytes(phase)).sum()
        };
        self.variants.iter().map(phases).sum()
    }

    /// What a sweep takes, where no two models agree.
    fn work(&self) -> Work {
        let of = |variant: &Variant| count::read(variant.program(), self.batches);
        self.variants.iter().map(of).sum()
    }

    fn layers(&self) -> usize {
        self.variants.iter().map(|variant| variant.program().blocks.len()).max().unwrap_or(0)
    }

    /// What belongs to each stream, as what belongs to each variant.
    pub(crate) fn by_variant<T: Copy>(&self, streams: &[Stream], of_stream: &[T]) -> Vec<T> {
        let stream_of = |variant| streams.iter().position(|stream| stream.carries(variant));
        let of_variant = |variant| of_stream.get(stream_of(variant)?).copied();
        (0..self.variants.len()).filter_map(of_variant).collect()
    }
}
