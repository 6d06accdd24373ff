//! A whole model in memory, and what it says next.

mod bytes;

pub use bytes::WeightBytes;

use llmopt_arch::Program;
use llmopt_arch::program::{Operation, Phase};
use llmopt_forward::{Batch, Engine, Linear, Matrix, Sequence, State, Taps, Weights};
use llmopt_model::Variant;
use llmopt_run::{Error, Resources, base_bytes};

/// All weights of a model but its embedding, of which rows are read as they are needed.
pub(crate) struct Loaded<'a> {
    variant: &'a Variant,
    engine: &'a Engine,
    /// Of every phase of every layer.
    blocks: Vec<Vec<Weights>>,
    norm: Weights,
    head: Linear,
}

impl<'a> Loaded<'a> {
    /// Reads the model, if it fits in memory together with the keys and values of all sequences: prompts of
    /// these lengths, and so many tokens more of each.
    pub(crate) fn read(
        variant: &'a Variant,
        engine: &'a Engine,
        lengths: &[usize],
        tokens: usize,
        resources: Resources,
    ) -> Result<Self, Error> {
        let smallest = needed(variant, engine, lengths, tokens, resources.threads)?;
        if smallest > resources.memory {
            return Err(Error::Budget { given: resources.memory, smallest });
        }
        let program = variant.program();
        let weights = |phase: &Phase| variant.weights(phase, engine.gemm());
        let blocks = program.blocks.iter();
        Ok(Self {
            variant,
            engine,
            blocks: blocks
                .map(|block| block.phases.iter().map(weights).collect())
                .collect::<Result<_, _>>()?,
            norm: weights(&program.head.norm)?,
            head: variant.head_rows(0..program.vocabulary, engine.gemm())?,
        })
    }
}

/// Memory for weights, keys and values, and the longest step.
pub(crate) fn needed(
    variant: &Variant,
    engine: &Engine,
    lengths: &[usize],
    tokens: usize,
    threads: usize,
) -> Result<u64, Error> {
    let program = variant.program();
    let gemm = engine.gemm();
    let phases = || program.blocks.iter().flat_map(|block| &block.phases);
    let linear = |operation: &Operation| match operation {
        Operation::Linear(linear) => {
            variant.packed_bytes(&linear.weight, linear.rows, linear.columns, gemm)
        }
        _ => 0,
    };
    let weights: u64 = phases().flat_map(|phase| &phase.operations).map(linear).sum();
    let head = &program.head.tensor;
    let head = variant.packed_bytes(head, program.vocabulary, program.hidden, gemm);
    let room = |length: &usize| (length + tokens).next_multiple_of(State::STEP);
    let kept: usize = lengths.iter().map(room).sum();
    // A sequence that outgrows short rotary factors is run again from its first token.
    let outgrown = |length: usize| State::outgrown(program, length, length + tokens);
    let longest = |&length: &usize| length + if outgrown(length) { tokens } else { 0 };
    let batch = Batch::of_lengths(lengths.iter().map(longest));
    let step = phases()
        .map(|phase| engine.working_bytes(program, phase, &batch, threads))
        .try_fold(0, |most, bytes| bytes.map(|bytes| bytes.max(most)));
    let step = step.map_err(|error| variant.failed(error))?;
    let logits = (lengths.len() * program.vocabulary * 2 * size_of::<f32>()) as u64;
    let hidden = (batch.tokens() * program.hidden * size_of::<f32>()) as u64;
    let (tensors, names) = variant.names();
    let state = kept as u64 * State::bytes_per_token(program);
    let bytes = base_bytes(tensors, names) + weights + head + state + step + logits + hidden;
    Ok(bytes)
}

/// Sequences that grow, with what the model keeps of them.
pub(crate) struct Generator<'a> {
    loaded: &'a Loaded<'a>,
    state: State,
    /// All tokens of every sequence.
    said: Vec<Vec<u32>>,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(loaded: &'a Loaded<'a>, sequences: usize) -> Self {
        let state = State::new(loaded.variant.program(), sequences);
        Self { loaded, state, said: vec![Vec::new(); sequences] }
    }

    /// Appends tokens to each sequence and returns the logits after the last of them; `None` for a
    /// sequence that got none.
    pub(crate) fn logits_after(
        &mut self,
        tokens: &[Vec<u32>],
    ) -> Result<Vec<Option<Vec<f32>>>, Error> {
        let program = self.loaded.variant.program();
        let outgrown = |(said, new): (&Vec<u32>, &Vec<u32>)| {
            State::outgrown(program, said.len(), said.len() + new.len())
        };
        let starts_again = self.said.iter().zip(tokens).any(outgrown);
        self.said.iter_mut().zip(tokens).for_each(|(said, new)| said.extend(new));
        let hidden = if starts_again {
            // What is kept was rotated for shorter sequences.
            self.state = State::new(program, tokens.len());
            let goes_on = self.said.iter().zip(tokens).map(|(said, new)| match new.is_empty() {
                true => Vec::new(),
                false => said.clone(),
            });
            self.run(&goes_on.collect::<Vec<_>>())?
        } else {
            self.run(tokens)?
        };
        let last: Vec<f32> = hidden.into_iter().flatten().collect();
        let Loaded { variant, engine, head, .. } = self.loaded;
        let logits = engine.logits(program, &last, head).map_err(|error| variant.failed(error))?;
        let mut rows = 0..logits.rows();
        let row = |tokens: &Vec<u32>| {
            (!tokens.is_empty()).then(|| rows.next().map(|row| logits.row(row).to_vec())).flatten()
        };
        Ok(tokens.iter().map(row).collect())
    }

    /// The hidden states of the last token of every sequence that has new ones, after the last norm.
    fn run(&mut self, tokens: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, Error> {
        let starts = (0..tokens.len()).map(|number| self.state.tokens(number));
        let sequences = tokens.iter().zip(starts);
        let sequence =
            |(tokens, start): (&Vec<u32>, usize)| Sequence { length: tokens.len(), start };
        let batch = &Batch::new(sequences.map(sequence).collect());
        let Loaded { variant, engine, blocks, norm, .. } = self.loaded;
        let program = variant.program();
        let mut taps = Taps::new(variant.embedded(tokens.iter().flatten().copied())?);
        for (block, weights) in program.blocks.iter().zip(blocks) {
            for (phase, weights) in block.phases.iter().zip(weights) {
                let state = Some((&mut self.state, block.layer));
                let run = engine.run(program, phase, weights, batch, &mut taps, state);
                run.map_err(|error| variant.failed(error))?;
            }
        }
        let run = engine.run(program, &program.head.norm, norm, batch, &mut taps, None);
        run.map_err(|error| variant.failed(error))?;
        let hidden = taps.take(Program::HIDDEN).unwrap_or_else(|| Matrix::zeros(0, program.hidden));
        let ends = tokens.iter().scan(0, |end, tokens| {
            *end += tokens.len();
            Some((*end, tokens.is_empty()))
        });
        let ends = ends.filter(|(_, is_empty)| !is_empty);
        Ok(ends.map(|(end, _)| hidden.row(end - 1).to_vec()).collect())
    }
}
