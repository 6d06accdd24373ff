//! What an artifact lost: one reading sweep, and everything that follows from it.

mod baseline;
mod check;
mod estimate;
mod facts;
mod figures;
mod judge;
mod logits;
mod metrics;
mod named;
mod plan;
mod provenance;
mod request;
mod result;
mod run;
mod set;
mod step;

pub use facts::{ClassSize, ModelFacts, TensorFacts};
pub use named::{NamedFile, NamedFileError};
pub use plan::{EvaluationPlan, EvaluationSummary, NamedProtocol, plan_evaluation};
pub use provenance::{Provenance, ProvenanceData, ProvenanceSource};
pub use request::EvaluationRequest;
pub use result::{
    BlockLoss, Evaluation, Protocol, TaskProtocol, TaskResult, TextProtocol, TextResult,
};
pub use run::evaluate;
