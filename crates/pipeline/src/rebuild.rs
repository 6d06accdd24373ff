//! An artifact made once more from its record, and held against what is there, file by file.
//!
//! A record tells recipe, data and inputs of the artifact, and of what it was made from in turn. The same version on
//! the same model with the same kernel must give the same bytes: where it does, nothing but that recipe has been at
//! work.

mod compare;
mod data;
mod steps;

pub use compare::RebuiltFile;
#[cfg(test)]
pub(crate) use steps::parsed;

use crate::output_target::Target;
use crate::pruning::{PruneRequest, plan_prune, prune};
use crate::rebuild::steps::{Recipe, Step};
use crate::run::{plan, quantize};
use llmopt_checkpoint::{Source, TemporaryFolder};
use llmopt_rewrite::FileFacts;
use llmopt_run::{Cancel, Error, Events, Resources};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What to make once more.
#[derive(Clone, Debug)]
pub struct RebuildRequest {
    /// The artifact, with its record.
    pub artifact: PathBuf,
    /// The first model that it was made from.
    pub model: PathBuf,
    /// Files of data, where they do not lie under their recorded names in the current folder or beside the model.
    pub data: Vec<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Rebuilt {
    /// What was done once more, in order: `prune`, `quantize`.
    pub commands: Vec<&'static str>,
    /// Files that were made once more, by name.
    pub files: Vec<RebuiltFile>,
    /// Files that the record lists and that no command of its makes: evaluations and model cards.
    pub not_rebuilt: Vec<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Rebuilt {
    /// How many files differ.
    pub fn differing(&self) -> usize {
        self.files.iter().filter(|file| !file.same).count()
    }
}

/// Makes an artifact once more, in a folder beside it that does not stay, and compares all files.
///
/// # Errors
/// If there is no record, the model is another one, data are missing or others, or a command fails. What differs is
/// no error.
pub fn rebuild(
    request: &RebuildRequest,
    resources: Resources,
    events: &dyn Events,
    cancel: &Cancel,
) -> Result<Rebuilt, Error> {
    let artifact = Source::open(&request.artifact)?;
    let record = steps::recorded(&artifact)?;
    let mut notes = Vec::new();
    for step in &record.steps {
        if step.version != env!("CARGO_PKG_VERSION") {
            let note = format!(
                "`{}` was done by llmopt {}, and this is {}: another version may write other bytes",
                step.recipe.command(),
                step.version,
                env!("CARGO_PKG_VERSION")
            );
            events.note(&note);
            notes.push(note);
        }
    }
    steps::check_model(&record.steps[0], &request.model, resources.threads, (events, cancel))?;
    let found = data::found(&record.steps, request)?;
    let folder = TemporaryFolder::beside(&request.artifact, "rebuild")?;
    let mut model = request.model.clone();
    let mut outputs = BTreeMap::new();
    for (number, (step, data)) in record.steps.iter().zip(found).enumerate() {
        let name = match record.steps.get(number + 1) {
            Some(next) => next.file_of_source(),
            None => (!artifact.is_folder()).then(|| artifact.shards()[0].name.clone()),
        };
        let output = folder.join(&number.to_string()).join(name.unwrap_or_default());
        let made = Made { step, data: &data, model: &model, output: &output };
        outputs = made.outputs(resources, (events, cancel))?;
        model = output;
    }
    let rebuilt = Source::open(&model)?;
    let compared = compare::compare(&record, (&artifact, &rebuilt), &outputs, (events, cancel))?;
    let commands = record.steps.iter().map(|step| step.recipe.command()).collect();
    let compare::Compared { files, not_rebuilt } = compared;
    Ok(Rebuilt { commands, files, not_rebuilt, notes })
}

/// A step that is carried out.
struct Made<'a> {
    step: &'a Step,
    data: &'a data::Found,
    model: &'a Path,
    output: &'a Path,
}

impl Made<'_> {
    /// Carries it out, and returns what its report tells of the files that were written.
    fn outputs(
        &self,
        resources: Resources,
        (events, cancel): (&dyn Events, &Cancel),
    ) -> Result<BTreeMap<String, FileFacts>, Error> {
        let Self { step, data, model, output } = *self;
        match &step.recipe {
            Recipe::Quantize(recipe) => {
                let mut recipe = (**recipe).clone();
                recipe.calibrate.iter_mut().for_each(|calibrate| data.put_into(calibrate));
                let target = Target { output: Some(output.to_owned()), ..Target::default() };
                let plan = plan(model, &target, &recipe, resources)?;
                let facts = plan.calibration.as_ref().map(|calibration| calibration.facts());
                step.check_data(facts.as_ref())?;
                Ok(quantize(&plan, events, cancel)?.envelope.outputs)
            }
            Recipe::Prune(recipe) => {
                let mut recipe = (**recipe).clone();
                data.put_into(&mut recipe.calibrate);
                let (model, output) = (model.to_owned(), Some(output.to_owned()));
                let request = PruneRequest { model, output, force: false, scratch: None, recipe };
                let plan = plan_prune(&request, resources)?;
                step.check_data(plan.facts().as_ref())?;
                Ok(prune(&plan, events, cancel)?.envelope.outputs)
            }
        }
    }
}
