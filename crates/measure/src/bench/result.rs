//! The result of a bench: the one structure from which every report is made.

use crate::bench::bandwidth::ReadBandwidth;
use crate::bench::quality::BenchedQuality;
use crate::bench::read::BytesPerToken;
use crate::bench::spread::Spread;
use crate::evaluation::ModelFacts;
use crate::generation::WeightBytes;
use serde::Serialize;

/// What was measured, of what, and how. It holds no host name and no absolute path.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bench {
    /// `llmopt`.
    pub tool: &'static str,
    /// The version that ran.
    pub version: &'static str,
    /// How it was measured.
    pub protocol: BenchProtocol,
    /// What it was measured on.
    pub machine: BenchMachine,
    /// How fast that reads memory.
    pub bandwidth: ReadBandwidth,
    /// The model and, where there is one, its original.
    pub models: Vec<BenchedModel>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// How it was measured: enough to do it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BenchProtocol {
    /// Tokens of a prompt, random ones.
    pub prompt: usize,
    /// Tokens that are decoded after the first of each sequence.
    pub tokens: usize,
    /// Sequences that go through a model together, the fewest first.
    pub batches: Vec<usize>,
    /// Runs of which the median is told, models in turn.
    pub runs: usize,
    /// What decided the tokens of prompts.
    pub seed: u64,
    /// What products are computed in: `f32`, `bf16`.
    pub dtype: String,
    /// What inputs of codes were rounded to, where that is not what the artifact promises: `int8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activations: Option<String>,
    /// Precision and kernel: `f32 avx2`.
    pub kernel: String,
    /// What multiplies weights that are codes: `codes avx2`.
    pub code_kernel: String,
    /// Worker threads.
    pub threads: usize,
}

/// The machine, and what else it did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchMachine {
    /// Bytes of the last level of cache that the first processor reaches; none where the system does not tell.
    pub last_level_cache: Option<u64>,
    /// Tasks that ran or could have run before the runs, the mean of one, five and fifteen minutes.
    pub load_average: Option<[f64; 3]>,
    /// The share of the threads' time in which they ran.
    pub threads_ran: f64,
    /// The share of the threads' time in which they could have run and waited for a processor.
    pub threads_waited: Option<f64>,
    /// Whether other work took more than a tenth of the threads' time; none where that cannot be told.
    pub is_loaded: Option<bool>,
    /// The most resident memory of the process from loading to the last run: all models that were loaded, with
    /// keys, values and what a step works in.
    pub peak_memory: Option<u64>,
}

/// A model, and how fast it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchedModel {
    /// The model, as its headers show it.
    pub model: ModelFacts,
    /// Bytes of its weights in memory, as they are packed.
    pub weights: WeightBytes,
    /// Bytes of keys and values that a token of a sequence keeps.
    pub cache_bytes_per_token: u64,
    /// Whether its weights are less than four times the last-level cache: then much of them is read from there.
    pub fits_in_cache: Option<bool>,
    /// What it lost, if an evaluation in its folder says so.
    pub quality: Option<BenchedQuality>,
    /// Its speed with so many sequences.
    pub batches: Vec<BenchedBatch>,
}

/// The speed of so many sequences together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchedBatch {
    /// Sequences.
    pub batch: usize,
    /// Tokens of prompts a second, of all sequences together.
    pub prompt_tokens_per_second: Spread,
    /// Tokens decoded a second, of all sequences together.
    pub tokens_per_second: Spread,
    /// Seconds from the empty state to the first token of every sequence.
    pub first_token_seconds: Spread,
    /// Seconds from a token of a sequence to the next, the median over all steps of all runs.
    pub inter_token_p50_seconds: f64,
    /// The 99th percentile of the same.
    pub inter_token_p99_seconds: f64,
    /// Bytes read for a token of a sequence.
    pub bytes_per_token: BytesPerToken,
    /// These times the tokens a second.
    pub bytes_per_second: f64,
    /// The share of the read bandwidth of all threads that this is.
    pub bandwidth_share: f64,
    /// Processor seconds of the whole process that 1,000 decoded tokens took.
    pub core_seconds_per_1000_tokens: f64,
    /// Decoded tokens for each of these seconds.
    pub tokens_per_core_second: f64,
    /// Tokens a second over those of a sequence alone; none where that was not measured.
    pub batching_gain: Option<f64>,
    /// Tokens a second over those of the original; none without one, and of the original itself.
    pub speed_up: Option<f64>,
}
