//! A job under way: what is done already, what is left, and the artifact's name at the end.

use crate::chain::{Quantization, prune_and_quantize};
use crate::job::asked::{Asked, differences};
use crate::job::plan::{JobPlan, prune_request, target};
use crate::job::{JobRequest, JobStage};
use crate::mixed::{MixedRequest, plan_mixed, quantize_mixed};
use crate::pruning::mixes::plan_prune;
use crate::pruning::run::prune;
use crate::run::{plan, quantize};
use llmopt_checkpoint::{
    Output as Staged, OutputOptions, PendingFile, all_files, keep_in_folder, read_bytes,
};
use llmopt_measure::EvaluationRequest;
use llmopt_run::{Cancel, Error, Events};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// An artifact that is complete but for its name.
pub struct Made {
    staged: Staged,
    artifact: PathBuf,
    evaluation: Option<EvaluationRequest>,
}

impl JobPlan {
    /// Carries out the stages that are not done yet.
    ///
    /// # Errors
    /// After an interruption or a failure of the system, the same job goes on where it stopped. After any
    /// other, what is complete stays for a job that asks for the same up to there.
    pub fn make(&self, events: &dyn Events, cancel: &Cancel) -> Result<Made, Error> {
        let request = &self.request;
        let options = OutputOptions { force: request.force, file: false, source: &request.model };
        let staged = Staged::begin(self.output(), options)?;
        if staged.holds_other_work(WORK)? {
            events.note(OTHER_WORK);
        }
        drop(staged.journal(WORK)?);
        let made = Work { plan: self, asked: Asked::of(request)? }.done(events, cancel);
        match made {
            Ok(()) => {
                let artifact = self.folder(request.stages.len() - 1);
                let evaluation = request.evaluation.clone().map(|evaluation| EvaluationRequest {
                    artifact: artifact.clone(),
                    ..evaluation
                });
                Ok(Made { staged, artifact, evaluation })
            }
            Err(Error::Interrupted) => Err(Error::Paused),
            Err(error) => {
                if !error.is_resumable() && !self.has_artifact() {
                    staged.discard()?;
                }
                Err(error)
            }
        }
    }

    /// Whether a stage is complete.
    fn has_artifact(&self) -> bool {
        (0..self.request.stages.len()).any(|number| self.folder(number).is_dir())
    }
}

struct Work<'a> {
    plan: &'a JobPlan,
    asked: Asked,
}

impl Work<'_> {
    fn request(&self) -> &JobRequest {
        &self.plan.request
    }

    fn done(&self, events: &dyn Events, cancel: &Cancel) -> Result<(), Error> {
        self.forget_what_differs(events)?;
        let count = self.request().stages.len();
        let complete = (0..count).rev().find(|&number| self.plan.folder(number).is_dir());
        let mut next = complete.map_or(0, |number| number + 1);
        if next > 0 {
            events.note(&format!("{next} of {count} stages were done before"));
        }
        while next < count {
            next = self.stage(next, events, cancel)?;
        }
        Ok(())
    }

    /// Carries out a stage, or with it the one behind it in the same sweep; returns the number of the next.
    fn stage(&self, number: usize, events: &dyn Events, cancel: &Cancel) -> Result<usize, Error> {
        let (request, resources) = (self.request(), self.plan.resources);
        let model = match number {
            0 => request.model.clone(),
            _ => self.plan.folder(number - 1),
        };
        let to = |number| Some(self.plan.folder(number));
        self.keep_asked(number)?;
        match (&request.stages[number], request.stages.get(number + 1)) {
            (JobStage::Prune(pruning), Some(JobStage::Quantize(recipe))) => {
                self.keep_asked(number + 1)?;
                let first = prune_request(&model, to(number), request, pruning);
                let recipe = recipe.clone();
                let second = Quantization { target: target(to(number + 1), request), recipe };
                prune_and_quantize(&first, &second, resources, [events, events], cancel)?;
                Ok(number + 2)
            }
            (JobStage::Prune(pruning), _) => {
                let request = prune_request(&model, to(number), request, pruning);
                prune(&plan_prune(&request, resources)?, events, cancel)?;
                Ok(number + 1)
            }
            (JobStage::Mixed(recipe), _) => {
                let target = target(to(number), request);
                let request = MixedRequest { model, target, recipe: recipe.clone() };
                quantize_mixed(&plan_mixed(&request, resources)?, events, cancel)?;
                Ok(number + 1)
            }
            (JobStage::Quantize(recipe), _) => {
                let planned = plan(&model, &target(to(number), request), recipe, resources)?;
                quantize(&planned, events, cancel)?;
                Ok(number + 1)
            }
        }
    }

    /// Removes every stage that was asked for otherwise, and those behind it, and says what differs.
    fn forget_what_differs(&self, events: &dyn Events) -> Result<(), Error> {
        let count = self.request().stages.len();
        let kept = (0..count).find_map(|number| match self.asked_before(number) {
            None => Some((number, Vec::new())),
            Some(then) => {
                let found = differences(&self.asked.first(number + 1), &then);
                (!found.is_empty()).then_some((number, found))
            }
        });
        let (first, found) = kept.unwrap_or((count, Vec::new()));
        if let Some(difference) = found.first() {
            let more = match found.len() - 1 {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            events.note(&format!(
                "stage {first} and what is behind it begin anew: {difference}{more}"
            ));
        }
        let folder = self.plan.stages_folder();
        let keeps = |name: &str| number_of(name).is_some_and(|number| number < first);
        // What a stage was asked for goes first: without it, one that is removed in part is none.
        keep_in_folder(folder, |name| keeps(name) || !name.ends_with(ASKED))?;
        Ok(keep_in_folder(folder, keeps)?)
    }

    fn asked_file(&self, number: usize) -> PathBuf {
        self.plan.stages_folder().join(format!("{number}{ASKED}"))
    }

    /// What a stage was asked for by an earlier attempt; none, if there was no such.
    fn asked_before(&self, number: usize) -> Option<Value> {
        serde_json::from_slice(&read_bytes(&self.asked_file(number), MOST_ASKED).ok()?).ok()
    }

    /// Keeps what a stage is asked for, before anything of it is written.
    fn keep_asked(&self, number: usize) -> Result<(), Error> {
        let asked = self.asked.first(number + 1).to_string();
        Ok(PendingFile::create(&self.asked_file(number))?.publish(asked.as_bytes())?)
    }
}

/// The number with which the names of a stage's files begin.
fn number_of(name: &str) -> Option<usize> {
    name.split(['-', '.']).next()?.parse().ok()
}

/// How the names of files end that hold what a stage was asked for.
const ASKED: &str = ".json";

/// Bytes of what a job asks for, at most.
const MOST_ASKED: u64 = 64 << 20;

impl Made {
    /// What is to be measured of it.
    pub fn evaluation(&self) -> Option<&EvaluationRequest> {
        self.evaluation.as_ref()
    }

    /// Gathers the artifact's files in the folder that will get its name. What was copied there before is
    /// replaced. Files may be added to that folder until [`Made::publish`].
    ///
    /// # Errors
    /// If a file cannot be linked or copied.
    pub fn gather(&self) -> Result<&Path, Error> {
        for name in all_files(&self.artifact, &[])? {
            self.staged.link(&self.artifact.join(&name), &name)?;
        }
        Ok(self.staged.partial_path())
    }

    /// Gives the artifact its name, with its own files and those `added`.
    ///
    /// # Errors
    /// If that cannot be done; the same job goes on then.
    pub fn publish(self, added: &[&str]) -> Result<(), Error> {
        let mut names = all_files(&self.artifact, &[])?;
        names.extend(added.iter().map(|&name| name.to_owned()));
        names.sort();
        names.dedup();
        Ok(self.staged.publish(&names)?)
    }

    /// Removes it.
    ///
    /// # Errors
    /// If that cannot be done.
    pub fn discard(self) -> Result<(), Error> {
        Ok(self.staged.discard()?)
    }
}

/// What tells a job's work from a single command's.
const WORK: &str = "a job of stages";
const OTHER_WORK: &str =
    "what another command has left of this output cannot be used: it begins anew";
