//! A whole model in memory, and what that takes.

mod bytes;

pub use bytes::WeightBytes;

use crate::generation::filter::Candidate;
use llmopt_arch::Program;
use llmopt_arch::program::{Operation, Phase};
use llmopt_forward::{Batch, Engine, Linear, State, Weights};
use llmopt_model::Variant;
use llmopt_run::{Error, base_bytes};

/// All weights of a model but its embedding, of which rows are read as they are needed.
pub(crate) struct Loaded<'a> {
    pub(super) variant: &'a Variant,
    pub(super) engine: &'a Engine,
    /// Of every phase of every layer.
    pub(super) blocks: Vec<Vec<Weights>>,
    pub(super) norm: Weights,
    pub(super) head: Linear,
}

impl<'a> Loaded<'a> {
    /// Reads the model.
    pub(crate) fn read(variant: &'a Variant, engine: &'a Engine) -> Result<Self, Error> {
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

impl Loaded<'_> {
    /// Whether a sequence that grows from `from` tokens to `to` must be read again from its first.
    pub(crate) fn outgrown(&self, from: usize, to: usize) -> bool {
        State::outgrown(self.variant.program(), from, to)
    }
}

/// Memory for the weights and a step of so many rows, in which so many sequences say a token: all but
/// what is kept of the sequences.
pub(crate) fn fixed_bytes(
    variant: &Variant,
    engine: &Engine,
    rows: usize,
    sequences: usize,
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
    let batch = Batch::of_lengths([rows]);
    let step = phases()
        .map(|phase| engine.working_bytes(program, phase, &batch, threads))
        .try_fold(0, |most, bytes| bytes.map(|bytes| bytes.max(most)));
    let step = step.map_err(|error| variant.failed(error))?;
    let logits = (sequences * program.vocabulary * 2 * size_of::<f32>()) as u64;
    let candidates = (program.vocabulary * size_of::<Candidate>()) as u64;
    let hidden = (rows * program.hidden * size_of::<f32>()) as u64;
    let (tensors, names) = variant.names();
    Ok(base_bytes(tensors, names) + weights + head + step + logits + candidates + hidden)
}

/// Memory for the keys and values of a sequence of so many tokens.
pub(crate) fn cache_bytes(program: &Program, tokens: usize) -> u64 {
    tokens.next_multiple_of(State::STEP) as u64 * State::bytes_per_token(program)
}
