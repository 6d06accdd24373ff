//! A job: stages on a model, and the evaluation of what comes out. A recipe asks for one.
//!
//! All work lies in the output's staging folder, each stage's artifact in a folder of its own, until the last
//! one gets the output's name. A stage that is complete is not done again, unless something differs that its
//! bytes follow from ([`asked`]).

mod asked;
mod plan;
mod work;

pub(crate) use asked::followed_from;
pub use plan::{JobPlan, PlannedStage, plan_job};
pub use work::Made;

use crate::mixed::MixedRecipe;
use crate::pruning::recipe::PruneRecipe;
use crate::recipe::Recipe;
use llmopt_measure::EvaluationRequest;
use std::path::PathBuf;

/// A model, what is to be done to it, and what is to be measured then.
#[derive(Clone, Debug)]
pub struct JobRequest {
    /// The model's folder.
    pub model: PathBuf,
    /// The output folder; the model's name with what every stage appends to it, if there is none.
    pub output: Option<PathBuf>,
    /// Whether an existing output is replaced, once the new one is complete.
    pub force: bool,
    /// A folder for hidden states that do not fit in memory; the one that the artifact goes to, if there is
    /// none.
    pub scratch: Option<PathBuf>,
    /// The stages, in order. One that quantizes is the last.
    pub stages: Vec<JobStage>,
    /// What is measured; its artifact is filled in. Nothing, if it is none.
    pub evaluation: Option<EvaluationRequest>,
}

/// A stage: what is made of the artifact before it.
#[derive(Clone, Debug)]
pub enum JobStage {
    /// A smaller dense checkpoint.
    Prune(PruneRecipe),
    /// Codes and scales.
    Quantize(Recipe),
    /// The same, with the scheme that each unit needs.
    Mixed(MixedRecipe),
}

impl JobStage {
    /// The command that does this alone.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Prune(_) => "prune",
            Self::Quantize(_) | Self::Mixed(_) => "quantize",
        }
    }
}
