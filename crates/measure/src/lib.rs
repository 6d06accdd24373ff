//! What models lost, what they say, and how fast: evaluation, candidates held against each other, generation, bench.
//!
//! It never knows how an artifact was made, but for what the report beside it tells.

#![forbid(unsafe_code)]

mod bench;
mod compute;
mod difference;
mod divergences;
mod evaluation;
mod generation;
mod judged;
mod outputs;

pub use bench::{
    Bench, BenchMachine, BenchProtocol, BenchRequest, BenchedBatch, BenchedModel, BenchedQuality,
    BytesPerToken, ReadBandwidth, Spread, bench,
};
pub use difference::{
    ConfigDifference, Difference, GateDifference, MetricDifference, ModelSide, QualityDifference,
    StoredTensor, TensorDifference, differ,
};
pub use divergences::Divergences;
pub use evaluation::{
    BlockLoss, ClassSize, Evaluation, EvaluationPlan, EvaluationRequest, EvaluationSummary,
    ModelFacts, NamedFile, NamedFileError, NamedProtocol, Protocol, Provenance, ProvenanceData,
    ProvenanceSource, TaskProtocol, TaskResult, TensorFacts, TextProtocol, TextResult, evaluate,
    plan_evaluation,
};
pub use generation::{
    AnswerOutput, AnswerRequest, Answered, Batching, DraftSource, Drafting, Generated,
    GenerationRequest, RequestSource, Sampling, WeightBytes, answer, generate,
};
pub use judged::{compared, judged, judged_by_window, least};
pub use outputs::JudgedOn;
