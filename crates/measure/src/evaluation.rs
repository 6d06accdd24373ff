//! What an artifact lost: one reading sweep, and everything that follows from it.

mod estimate;
mod facts;
mod judge;
mod logits;
mod plan;
mod provenance;
mod request;
mod result;
mod run;
mod set;

pub use facts::{ClassSize, ModelFacts, TensorFacts};
pub use plan::{EvaluationPlan, EvaluationSummary, plan_evaluation};
pub use provenance::{Provenance, ProvenanceData, ProvenanceSource};
pub use request::EvaluationRequest;
pub use result::{BlockLoss, Evaluation, Protocol, TaskProtocol, TextProtocol};
pub use run::evaluate;
