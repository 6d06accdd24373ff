//! Plans and sweeps: what happens to every tensor of a model, decided from headers, then done.
//!
//! A [`Plan`] is made before the first data byte is read; [`quantize`] carries it out. This crate is
//! the only one that sees all the others. It never knows the terminal: it reports through [`Events`].
//!
#![doc = include_str!("../../../docs/library.md")]
#![forbid(unsafe_code)]

mod band;
mod calibration;
mod chain;
mod config;
mod current;
mod decision;
mod default_output;
mod error;
mod estimate;
mod evaluation;
mod events;
mod fingerprint;
mod generation;
mod handover;
mod in_order;
mod inspect;
mod kind;
mod layout;
mod memory;
mod method;
mod nonfinite;
mod notes;
mod output_loss;
mod patterns;
mod place;
mod plan;
mod pool;
mod pruning;
mod quantized;
mod random;
mod reading;
mod recipe;
mod record;
mod report;
mod resume;
mod run;
mod select;
mod stacked;
mod summary;
mod sweep;
#[cfg(test)]
mod testing;
mod texts;
mod tied;
mod tokenizer;
mod too_small;
mod unknown;
mod variant;
mod verify;
mod weights;
mod wrapped;

pub use calibration::{
    Calibrated, CalibrationFacts, CalibrationMemory, CalibrationRequest, CalibrationSource,
    CalibrationSummary, HeldOut, ModelIdentity, ObservedRun, SourceError, SourceFacts,
    StatisticsFacts, StatisticsPlan, StatisticsReport, StatisticsRequest, StatisticsSummary,
    TriedMethod, observe_statistics, plan_statistics,
};
pub use chain::{Quantization, prune_and_quantize};
pub use current::{InFolder, model_in};
pub use decision::{Candidate, Decision, PlannedDecision};
pub use default_output::cached_repository;
pub use error::{Blame, Error};
pub use estimate::{Speed, StageEstimate, TimeEstimate, Windows};
pub use evaluation::{
    BlockLoss, ClassSize, Evaluation, EvaluationPlan, EvaluationRequest, EvaluationSummary,
    ModelFacts, Protocol, Provenance, ProvenanceData, ProvenanceSource, TaskProtocol, TensorFacts,
    TextProtocol, evaluate, plan_evaluation,
};
pub use events::{Cancel, Events, Silent};
pub use generation::{Generated, GenerationRequest, generate};
pub use inspect::{
    Amount, ArtifactFacts, Inspection, MatrixKind, SchemeWeight, ShardFacts, Stored, inspect,
};
pub use kind::{kind_label, kind_pattern};
pub use llmopt_arch::axes::Axis;
pub use llmopt_checkpoint::{PendingFile, Source, write_file};
pub use llmopt_codec::{FormatRow, Runtime, formats};
pub use llmopt_eval::{
    Accuracy, ChoiceComparison, Comparison, Divergence, Estimate, Gate, GateError, Histogram,
    Metric, Outcome,
};
pub use llmopt_linalg::{KernelChoice, Precision};
pub use llmopt_scheme::{Granularity, Scheme};
pub use llmopt_text::{Date, WindowFacts};
pub use memory::{Memory, available_memory};
pub use method::{Method, UnknownMethod};
pub use nonfinite::NonFinite;
pub use output_loss::{JudgedOn, OutputLoss};
pub use plan::Plan;
pub use pruning::{
    ChoiceSummary, FoundLayers, JudgedMix, LeftOut, Mix, MovedFacts, PruneDecision, PruneMemory,
    PruneMethod, PrunePlan, PruneRecipe, PruneReport, PruneRequest, PruneSummary, PrunedTensor,
    PrunedUnits, RemovedTensor, StepFacts, TriedLayers, UnknownPruneMethod, plan_prune, prune,
};
pub use reading::ReadingMemory;
pub use recipe::{Calibrate, DenseDtype, Format, GroupSize, Recipe, Resources};
pub use record::{RecordFacts, RecordedCalibration, RecordedDecision, RecordedPruning};
pub use report::{CalibrationReport, FileFacts, Loss, Report, TensorReport};
pub use run::{Target, plan, quantize};
pub use select::Fallback;
pub use stacked::StackedExperts;
pub use summary::{ActionSummary, Disk, PlannedFile, PlannedTensor, Summary};
pub use texts::may_hold_messages;
pub use unknown::UnknownTensors;
pub use verify::{Checked, Fault, Verification, VerifyOptions, verify};
