//! What to measure.

use llmopt_linalg::{InputCodes, KernelChoice, Precision};
use std::path::PathBuf;

/// What to measure the speed of.
#[derive(Clone, Debug)]
pub struct BenchRequest {
    /// The model: dense, or an artifact.
    pub model: PathBuf,
    /// The model that it is held against: the original.
    pub against: Option<PathBuf>,
    /// Sequences that go through a model together.
    pub batches: Vec<usize>,
    /// Tokens of a prompt.
    pub prompt: usize,
    /// Tokens that are decoded after the first of each sequence.
    pub tokens: usize,
    /// Runs of which the median is told.
    pub runs: usize,
    /// What decides the tokens of prompts.
    pub seed: u64,
    /// What products are computed in.
    pub precision: Precision,
    /// What inputs are rounded to where a weight is integer codes, unless the scheme says so itself.
    pub code_inputs: InputCodes,
    /// What computes them.
    pub kernel: KernelChoice,
}
