//! A job before it begins: every stage planned on the whole model, which takes no less than what is left of it.

use crate::job::{JobRequest, JobStage};
use crate::mixed::{MixedPlan, MixedRequest, mixed_output, plan_mixed};
use crate::output_target::Target;
use crate::plan::Plan;
use crate::pruning::mixes::plan_prune;
use crate::pruning::plan::PrunePlan;
use crate::pruning::recipe::{PruneRecipe, PruneRequest};
use crate::run::{plan, within};
use llmopt_checkpoint::{Output as Staged, OutputOptions, Source};
use llmopt_measure::{EvaluationPlan, EvaluationRequest, plan_evaluation};
use llmopt_run::{Error, Resources};
use std::path::{Path, PathBuf};

/// A job that can be carried out.
pub struct JobPlan {
    pub(super) request: JobRequest,
    pub(super) resources: Resources,
    output: PathBuf,
    stages_folder: PathBuf,
    stages: Vec<PlannedStage>,
    evaluation: Option<EvaluationPlan>,
}

/// A stage, planned on the whole model. For the first one that is its plan; for the others a bound.
pub enum PlannedStage {
    /// Pruning.
    Prune(Box<PrunePlan>),
    /// Quantizing.
    Quantize(Box<Plan>),
    /// Quantizing with mixed precision.
    Mixed(Box<MixedPlan>),
}

/// Decides everything that can be decided without reading a weight.
///
/// # Errors
/// What cannot be done is refused here, and what is wrong with the input is named. [`Error::Budget`] names the
/// memory that every stage and the evaluation go through with.
pub fn plan_job(request: &JobRequest, resources: Resources) -> Result<JobPlan, Error> {
    check_order(&request.stages)?;
    let output = output(request, resources)?;
    refuse_output(request, &output)?;
    let folder = Staged::partial_of(&output)?.join(STAGES);
    within(resources, |resources| {
        let stage = |(number, stage)| planned(request, &folder, (number, stage), resources);
        let stages = request.stages.iter().enumerate().map(stage).collect::<Result<Vec<_>, _>>()?;
        let evaluation = request.evaluation.as_ref().map(|evaluation| {
            let artifact = request.model.clone();
            plan_evaluation(&EvaluationRequest { artifact, ..evaluation.clone() }, resources)
        });
        let evaluation = evaluation.transpose()?;
        let (request, output, stages_folder) = (request.clone(), output.clone(), folder.clone());
        Ok(JobPlan { request, resources, output, stages_folder, stages, evaluation })
    })
}

/// Codes are not pruned, and not quantized once more.
fn check_order(stages: &[JobStage]) -> Result<(), Error> {
    let refused =
        |what: String, hint: &str| Err(Error::RefusedWithHint { what, hint: hint.to_owned() });
    let Some((_, before)) = stages.split_last() else {
        return refused("there is no stage".to_owned(), "`[[stage]]` prunes or quantizes");
    };
    match before.iter().position(|stage| !matches!(stage, JobStage::Prune(_))) {
        Some(number) => refused(
            format!(
                "stage {number} quantizes, and stage {} would {} its codes",
                number + 1,
                stages[number + 1].name()
            ),
            "let the stage that quantizes be the last",
        ),
        None => Ok(()),
    }
}

/// Where the artifact goes.
fn output(request: &JobRequest, resources: Resources) -> Result<PathBuf, Error> {
    if let Some(output) = &request.output {
        return Ok(output.clone());
    }
    let mut path = request.model.clone();
    for stage in &request.stages {
        path = match stage {
            JobStage::Prune(recipe) => {
                let of = |model: &Path| prune_request(model, None, request, recipe);
                let planned = plan_prune(&of(&request.model), resources)?;
                let name = planned.output().file_name().unwrap_or_default();
                match path == request.model {
                    true => planned.output().to_owned(),
                    // Of a second one, what it appends.
                    false => appended(&path, &request.model, name),
                }
            }
            JobStage::Quantize(recipe) => {
                Target::default().default_output(&path, recipe, false).path()?
            }
            JobStage::Mixed(_) => mixed_output(&path, &Target::default())?,
        };
    }
    Ok(path)
}

/// `path` with what `name` has behind the name of `model`.
fn appended(path: &Path, model: &Path, name: &std::ffi::OsStr) -> PathBuf {
    let stem = model.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.to_string_lossy();
    let mut whole = path.as_os_str().to_owned();
    whole.push(name.strip_prefix(&*stem).unwrap_or(&name));
    PathBuf::from(whole)
}

fn refuse_output(request: &JobRequest, output: &Path) -> Result<(), Error> {
    if output.extension().is_some_and(|ending| ending == "safetensors") {
        return Err(Error::RefusedWithHint {
            what: format!(
                "the output `{}` is a file, and a recipe makes a folder",
                output.display()
            ),
            hint: "leave the ending out; `llmopt quantize` makes files of files".to_owned(),
        });
    }
    Source::open(&request.model)?;
    let options = OutputOptions { force: request.force, file: false, source: &request.model };
    Ok(Staged::check(output, options)?)
}

fn planned(
    request: &JobRequest,
    folder: &Path,
    (number, stage): (usize, &JobStage),
    resources: Resources,
) -> Result<PlannedStage, Error> {
    let to = Some(stage_folder(folder, number, stage));
    Ok(match stage {
        JobStage::Prune(recipe) => {
            let request = prune_request(&request.model, to, request, recipe);
            PlannedStage::Prune(Box::new(plan_prune(&request, resources)?))
        }
        JobStage::Quantize(recipe) => {
            let target = target(to, request);
            PlannedStage::Quantize(Box::new(plan(&request.model, &target, recipe, resources)?))
        }
        JobStage::Mixed(recipe) => {
            let target = target(to, request);
            let request =
                MixedRequest { model: request.model.clone(), target, recipe: recipe.clone() };
            PlannedStage::Mixed(Box::new(plan_mixed(&request, resources)?))
        }
    })
}

/// The folder of a stage's artifact, in that of all stages.
fn stage_folder(folder: &Path, number: usize, stage: &JobStage) -> PathBuf {
    folder.join(format!("{number}-{}", stage.name()))
}

/// The pruning of `model` that `recipe` asks for.
pub(super) fn prune_request(
    model: &Path,
    output: Option<PathBuf>,
    request: &JobRequest,
    recipe: &PruneRecipe,
) -> PruneRequest {
    PruneRequest {
        model: model.to_owned(),
        output,
        // A plan of what is done already is no request to do it again.
        force: true,
        scratch: request.scratch.clone(),
        recipe: recipe.clone(),
    }
}

/// Where a quantized artifact goes: into a folder, whatever it is made of.
pub(super) fn target(output: Option<PathBuf>, request: &JobRequest) -> Target {
    let output = output.map(|path| path.join(""));
    Target { output, folder: None, force: true, scratch: request.scratch.clone() }
}

/// The folder of all stages' artifacts.
const STAGES: &str = "stages";

impl JobPlan {
    /// The folder that the artifact goes to.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// The stages.
    pub fn stages(&self) -> &[PlannedStage] {
        &self.stages
    }

    /// The evaluation, planned with the model in the artifact's place; none, if nothing is measured.
    pub fn evaluation(&self) -> Option<&EvaluationPlan> {
        self.evaluation.as_ref()
    }

    /// The most memory that any part of the job takes, in bytes.
    pub fn predicted_peak(&self) -> u64 {
        let stages = self.stages.iter().map(|stage| match stage {
            PlannedStage::Prune(plan) => plan.summary().memory.predicted_peak,
            PlannedStage::Quantize(plan) => plan.summary().memory.predicted_peak,
            PlannedStage::Mixed(plan) => plan.predicted_peak(),
        });
        let judged = self.evaluation.as_ref().map(|plan| plan.summary().memory.predicted_peak);
        stages.chain(judged).max().unwrap_or(0)
    }

    /// The folder of all stages' artifacts.
    pub(super) fn stages_folder(&self) -> &Path {
        &self.stages_folder
    }

    /// The folder of a stage's artifact.
    pub(super) fn folder(&self, number: usize) -> PathBuf {
        stage_folder(&self.stages_folder, number, &self.request.stages[number])
    }
}
