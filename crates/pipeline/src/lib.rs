//! Plans and sweeps: what happens to every tensor of a model, decided from headers, then done.
//!
//! A [`Plan`] is made before the first data byte is read; [`quantize`] carries it out. This crate is
//! the only one that sees all the others. It never knows the terminal: it reports through [`Events`].
//!
#![doc = include_str!("../../../docs/library.md")]
#![forbid(unsafe_code)]

mod calibration;
mod chain;
mod choice;
mod config;
mod current;
mod decision;
mod default_output;
mod estimate;
mod expected;
mod inspect;
mod job;
mod ladder;
mod made;
mod method;
mod mixed;
mod output_loss;
mod output_target;
mod patterns;
mod plan;
mod plan_notes;
mod pruning;
mod quantize_band;
mod rebuild;
mod recipe;
mod recipe_read;
mod record;
mod report;
mod run;
mod select;
mod stacked;
mod summary;
#[cfg(test)]
mod testing;
mod too_small;
mod unknown;

pub use calibration::{
    Calibrated, CalibrationMemory, CalibrationSummary, HeldOut, ModelIdentity, ObservedRun, Smooth,
    SmoothingReport, SmoothingSummary, StatisticsPlan, StatisticsReport, StatisticsRequest,
    StatisticsSummary, TriedMethod, UnsmoothedInputs, observe_statistics, plan_statistics,
};
pub use chain::{Quantization, prune_and_quantize};
pub use current::{InFolder, model_in};
pub use decision::{Candidate, Decision, PlannedDecision};
pub use default_output::cached_repository;
pub use inspect::{
    Amount, ArtifactFacts, Inspection, MatrixKind, SchemeWeight, ShardFacts, Stored, inspect,
};
pub use job::{JobPlan, JobRequest, JobStage, Made, PlannedStage, plan_job};
pub use ladder::{
    JudgedText, LadderPlan, LadderReport, LadderRequest, LadderSummary, PlannedRung, Rung, ladder,
    plan_ladder,
};
pub use llmopt_arch::axes::Axis;
pub use llmopt_checkpoint::{
    EVALUATION_NAME, PendingFile, Source, append_file, read_bytes, read_text, write_file,
};
pub use llmopt_codec::{FormatRow, Runtime, formats};
pub use llmopt_data::{
    CalibrationFacts, CalibrationRequest, CalibrationSource, SourceError, SourceFacts,
    StatisticsFacts, may_hold_messages,
};
pub use llmopt_estimate::{Speed, StageEstimate, TimeEstimate, Windows};
pub use llmopt_eval::{
    Accuracy, ChoiceComparison, Comparison, Divergence, Estimate, Gate, GateError, Histogram,
    Metric, OnUnsure, Outcome, UnknownOnUnsure, Verdict,
};
pub use llmopt_linalg::{InputCodes, KernelChoice, Precision, keep_nothing_freed};
pub use llmopt_measure::{
    AnswerOutput, AnswerRequest, Answered, Batching, Bench, BenchMachine, BenchProtocol,
    BenchRequest, BenchedBatch, BenchedModel, BenchedQuality, BlockLoss, BytesPerToken, ClassSize,
    ConfigDifference, Difference, DraftSource, Drafting, Evaluation, EvaluationPlan,
    EvaluationRequest, EvaluationSummary, GateDifference, Generated, GenerationRequest, JudgedOn,
    MetricDifference, ModelFacts, ModelSide, NamedFile, NamedFileError, NamedProtocol, Protocol,
    Provenance, ProvenanceData, ProvenanceSource, QualityDifference, ReadBandwidth, RequestSource,
    Sampling, Spread, StoredTensor, TaskProtocol, TaskResult, TensorDifference, TensorFacts,
    TextProtocol, TextResult, WeightBytes, answer, bench, differ, evaluate, generate,
    plan_evaluation,
};
pub use llmopt_model::{ScaledPair, kind_label, kind_pattern};
pub use llmopt_rewrite::{
    BlockRuns, Envelope, FileFacts, FoundFrontMatter, FrontMatter, RecordFile, WantedFrontMatter,
    is_repository,
};
pub use llmopt_run::{
    Blame, Cancel, Disk, Error, Events, Fault, Memory, NonFinite, Resources, Silent,
    available_memory,
};
pub use llmopt_scheme::{Granularity, Scheme};
pub use llmopt_sweep::ReadingMemory;
pub use llmopt_text::{Date, WindowFacts};
pub use llmopt_verify::{
    Checked, Manifest, MovedFacts, PrunedUnits, StepFacts, Verification, VerifyOptions, manifest,
    verify,
};
pub use method::{Method, UnknownMethod};
pub use mixed::{
    Goal, MixedCandidate, MixedPlan, MixedRecipe, MixedReport, MixedRequest, MixedSummary,
    MixedUnit, PlannedChoice, UnitChoice, plan_mixed, quantize_mixed,
};
pub use output_loss::OutputLoss;
pub use output_target::Target;
pub use plan::Plan;
pub use pruning::{
    ChoiceSummary, FoundLayers, JudgedMix, LeftOut, Mix, PruneDecision, PruneMemory, PruneMethod,
    PrunePlan, PruneRecipe, PruneReport, PruneRequest, PruneSummary, PrunedTensor, RemovedTensor,
    TriedLayers, UnknownPruneMethod, plan_prune, prune,
};
pub use rebuild::{RebuildRequest, Rebuilt, RebuiltFile, rebuild};
pub use recipe::{Calibrate, DenseDtype, Format, GroupSize, Recipe};
pub use record::{RecordFacts, RecordedCalibration, RecordedDecision, RecordedPruning};
pub use report::{CalibrationReport, Loss, Report, TensorReport};
pub use run::{plan, quantize};
pub use select::Fallback;
pub use stacked::StackedExperts;
pub use summary::{ActionSummary, PlannedFile, PlannedTensor, Summary};
pub use unknown::UnknownTensors;
