//! Everything about a mixed artifact that is known before a weight is read.

use crate::calibration::{StatisticsPlan, StatisticsRequest, plan_statistics};
use crate::default_output::DefaultOutput;
use crate::ladder::judges::{JudgedText, Judges};
use crate::method::Method;
use crate::mixed::candidates::{Candidates, Fixed};
use crate::mixed::request::{Goal, MixedRecipe, MixedRequest};
use crate::mixed::units::Choice;
use crate::output_target::Target;
use crate::plan::{Plan, nearest_folder};
use crate::recipe::{Calibrate, Format, Recipe};
use crate::run::{plan, within};
use llmopt_checkpoint::{Output as Staged, OutputOptions, free_disk};
use llmopt_data::{CalibrationRequest, CalibrationSet, CalibrationSource, Texts};
use llmopt_forward::Engine;
use llmopt_linalg::{Gemm, KernelChoice, Precision};
use llmopt_measure::Divergences;
use llmopt_model::{Checkpoint, Variant};
use llmopt_run::{Disk, Error, Resources};
use llmopt_scheme::{Activations, Numeric};
use llmopt_sweep::{ReadingMemory, judging, planned};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A mixed artifact that can be made.
pub struct MixedPlan {
    pub(super) request: MixedRequest,
    pub(super) variant: Variant,
    pub(super) engine: Engine,
    pub(super) judges: Judges,
    /// Windows that units are probed on.
    pub(super) probing: Vec<Vec<u32>>,
    /// How the sums are made that all choices are solved with; none, if there are some, or none are needed.
    pub(super) statistics: Option<StatisticsPlan>,
    /// What the artifact itself is solved with.
    pub(super) calibrate: Option<Calibrate>,
    pub(super) candidates: Candidates,
    pub(super) memory: ReadingMemory,
    pub(super) scratch: PathBuf,
    pub(super) resources: Resources,
    /// The artifact with the first of the choices everywhere: a bound of what solving takes.
    pub(super) bound: Box<Plan>,
    /// The same by the method that solves for all choices, on the data themselves.
    pub(super) observed: Option<Box<Plan>>,
    output: PathBuf,
    notes: Vec<String>,
}

/// What a plan says.
#[derive(Clone, Debug, Serialize)]
pub struct MixedSummary {
    /// The model's name.
    pub model: String,
    /// The output's path.
    pub output: String,
    /// What the artifact must meet.
    pub goal: Goal,
    /// Bytes of the model's weight files.
    pub input_bytes: u64,
    /// Bytes of all files of the smallest artifact that can be made, but for its record.
    pub smallest: u64,
    /// The same of the largest.
    pub largest: u64,
    /// Weights of the model.
    pub parameters: u64,
    /// How many units there are.
    pub units: usize,
    /// What each may get, beside staying as it is.
    pub choices: Vec<PlannedChoice>,
    /// The uniform choice that has to be beaten, if one is known and is small enough.
    pub uniform: Option<String>,
    /// The names of what the model is observed on; none, if weights alone decide.
    pub sources: Vec<String>,
    /// What artifacts are judged on.
    pub judged_on: JudgedText,
    /// Tokens that units are probed on.
    pub probing_tokens: usize,
    /// Method of the artifact.
    pub method: Method,
    /// Memory of the reading sweeps.
    pub memory: ReadingMemory,
    /// The most memory that any part takes.
    pub predicted_peak: u64,
    /// Room for all choices, statistics and hidden states.
    pub disk: Disk,
    /// What a reader should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A choice of units.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedChoice {
    /// Bits of a weight, and the group size where one was given or is the smaller of two.
    pub name: String,
    /// Bytes of all files, if every unit had it that can.
    pub bytes: u64,
    /// Units that can.
    pub units: usize,
}

/// Decides everything that can be decided without reading a weight.
///
/// # Errors
/// What cannot be done is refused here, and what is wrong with the input is named.
pub fn plan_mixed(request: &MixedRequest, resources: Resources) -> Result<MixedPlan, Error> {
    check(&request.recipe)?;
    within(resources, |resources| MixedPlan::new(request, resources))
}

/// What the recipe says must go together.
fn check(recipe: &MixedRecipe) -> Result<(), Error> {
    let refused = |what: &str, hint: &str| {
        Err(Error::RefusedWithHint { what: what.to_owned(), hint: hint.to_owned() })
    };
    let MixedRecipe { goal, recipe, .. } = recipe;
    if matches!(goal, Goal::BitsPerWeight(bits) | Goal::Kld(bits) if !(bits.is_finite() && *bits > 0.0))
    {
        return refused("what is aimed at is no positive number", "give a number above 0");
    }
    if recipe.smooth.is_some() {
        return refused(
            "channels are smoothed for inputs that are quantized, and mixed precision is for weights alone",
            "leave `--smooth` out",
        );
    }
    if recipe.format != Format::CompressedTensors {
        return refused(
            "mixed precision as dense weights would save no bytes",
            "leave `--format` out",
        );
    }
    let is_plain = matches!(recipe.scheme.weights, Numeric::Int { .. })
        && recipe.scheme.activations == Activations::None;
    match is_plain {
        true => Ok(()),
        false => refused(
            &format!(
                "mixed precision is for integer weights alone, not for `{}`",
                recipe.scheme.name()
            ),
            "leave `--scheme` out; `--widths` says which widths may be used",
        ),
    }
}

impl MixedPlan {
    fn new(request: &MixedRequest, resources: Resources) -> Result<Self, Error> {
        let MixedRequest { model, recipe: mixed, target } = request;
        let recipe = &mixed.recipe;
        let variant = Variant::open(model)?;
        let output = output(request)?;
        let options = OutputOptions { force: target.force, file: false, source: model };
        Staged::check(&output, options)?;
        let kernel = recipe.calibrate.as_ref().map_or(KernelChoice::Auto, |found| found.kernel);
        let gemm =
            Gemm::new(Precision::F32, kernel).map_err(|error| Error::Refused(error.to_string()))?;
        let engine = Engine::new(gemm);
        let fixed =
            Fixed { checkpoint: Checkpoint::open(model)?, request: request.clone(), resources };
        let (candidates, notes) = Candidates::new(fixed)?;
        let (judges, fit) = judges(recipe, &variant)?;
        let probing = probing(fit.as_ref(), &variant, &judges)?;
        let scratch = target.scratch.clone().unwrap_or_else(|| nearest_folder(&output));
        let folder = output.parent().map(Path::to_owned).unwrap_or_default();
        let calibrate = recipe.calibrate.clone().map(|calibrate| Calibrate {
            data: fit.clone().unwrap_or_else(|| calibrate.data.clone()),
            held_out: false,
            ..calibrate
        });
        let statistics = match (&recipe.calibrate, &fit) {
            (Some(calibrate), Some(data)) => {
                let requested = StatisticsRequest {
                    model: model.clone(),
                    data: data.clone(),
                    gram: method_of_choices(recipe).needs().gram,
                    merge: Vec::new(),
                    precision: calibrate.precision,
                    kernel: calibrate.kernel,
                    // Where it goes is known when the run begins.
                    output: folder.join("mixed-statistics.safetensors"),
                    force: true,
                    scratch: scratch.clone(),
                };
                Some(plan_statistics(&requested, resources)?)
            }
            _ => None,
        };
        let first = candidates.choices.first().copied();
        let first = first.ok_or_else(|| Error::Refused("no width is left to choose".to_owned()))?;
        let at = |name: &str| candidates.fixed.target(folder.join(format!("mixed-{name}.tmp")));
        let solved = candidates.choice_recipe(first, calibrate.clone(), method_of_final(recipe));
        let bound = Box::new(plan(model, &at("bound"), &solved, resources)?);
        let observed = match (&calibrate, &statistics) {
            (Some(calibrate), Some(_)) => {
                let calibrate = Calibrate { sequential: false, ..calibrate.clone() };
                let method = method_of_choices(recipe);
                let recipe = candidates.choice_recipe(first, Some(calibrate), method);
                Some(Box::new(plan(model, &at("observed"), &recipe, resources)?))
            }
            _ => None,
        };
        let memory = reading_memory(&variant, &engine, [&judges.windows, &probing], resources)?;
        let plan = Self {
            request: request.clone(),
            variant,
            engine,
            judges,
            probing,
            statistics,
            calibrate,
            candidates,
            memory,
            scratch,
            resources,
            bound,
            observed,
            output,
            notes,
        };
        plan.check_disk()?;
        Ok(plan)
    }

    /// The folder that the artifact goes to.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// The plan in a form for people and programs.
    ///
    /// # Errors
    /// If an artifact of one of the choices cannot be planned.
    pub fn summary(&self) -> Result<MixedSummary, Error> {
        let recipe = &self.request.recipe.recipe;
        let sources = recipe.calibrate.iter().flat_map(|calibrate| &calibrate.data.sources);
        let (smallest, largest) = self.candidates.range()?;
        Ok(MixedSummary {
            model: self.variant.name(),
            output: self.output.display().to_string(),
            goal: self.request.recipe.goal,
            input_bytes: self.candidates.source_bytes(),
            smallest: smallest.files,
            largest: largest.files,
            parameters: self.candidates.parameters,
            units: self.candidates.units.len(),
            choices: self.candidates.planned(),
            uniform: self.candidates.uniform.first().map(Choice::to_string),
            sources: sources.map(CalibrationSource::name).collect(),
            judged_on: self.judges.text.clone(),
            probing_tokens: self.probing.iter().map(Vec::len).sum(),
            method: method_of_final(recipe),
            memory: self.memory.clone(),
            predicted_peak: self.predicted_peak(),
            disk: self.disk()?,
            notes: self.notes.clone(),
        })
    }

    /// The most memory that any part takes, in bytes.
    pub fn predicted_peak(&self) -> u64 {
        let plans = [Some(&self.bound), self.observed.as_ref()].into_iter().flatten();
        let plans = plans.map(|plan| plan.summary().memory.predicted_peak);
        plans.chain([self.memory.predicted_peak]).max().unwrap_or(0)
    }

    /// What a reader should know.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What the artifact is staged under.
    pub(super) fn options(&self) -> OutputOptions<'_> {
        OutputOptions { force: self.request.target.force, file: false, source: &self.request.model }
    }

    fn disk(&self) -> Result<Disk, Error> {
        let choices: u64 = self.candidates.planned().iter().map(|choice| choice.bytes).sum();
        let statistics = self.statistics.as_ref().map(StatisticsPlan::summary).transpose()?;
        let statistics = statistics.map_or(0, |made| made.bytes);
        let hidden = if self.memory.spills { self.memory.hidden_bytes } else { 0 };
        let most = self.candidates.goal_bytes().unwrap_or(u64::MAX);
        let made = 2 * self.candidates.source_bytes().min(most);
        let free = free_disk(&nearest_folder(&self.output)).ok();
        Ok(Disk { needed: choices + statistics + hidden + made, free })
    }

    fn check_disk(&self) -> Result<(), Error> {
        let Disk { needed, free } = self.disk()?;
        match free.filter(|&free| free < needed) {
            None => Ok(()),
            Some(free) => Err(Error::RefusedWithHint {
                what: format!(
                    "the {} choices, all there until one allocation is taken, need {needed} bytes in `{}`, and \
                     there are {free} free",
                    self.candidates.choices.len(),
                    nearest_folder(&self.output).display()
                ),
                hint: "fewer `--widths` take less; `-o DIR` takes another folder".to_owned(),
            }),
        }
    }
}

/// The name of what is made of `input`, if it is given none.
pub(crate) fn mixed_output(input: &Path, target: &Target) -> Result<PathBuf, Error> {
    let suffix = "-mixed".to_owned();
    DefaultOutput { input, folder: target.folder.as_deref(), suffix, bare: false }.path()
}

fn output(request: &MixedRequest) -> Result<PathBuf, Error> {
    let path = match &request.target.output {
        Some(path) => path.clone(),
        None => mixed_output(&request.model, &request.target)?,
    };
    match path.extension().is_some_and(|ending| ending == "safetensors") {
        false => Ok(path),
        true => Err(Error::RefusedWithHint {
            what: format!(
                "the output `{}` is a file, and mixed precision makes a folder",
                path.display()
            ),
            hint: "schemes that differ are told by `config.json`: leave the ending out".to_owned(),
        }),
    }
}

/// The method that solves for all choices, which have nothing but sums of the original's inputs to go by.
pub(super) fn method_of_choices(recipe: &Recipe) -> Method {
    match recipe.method {
        _ if recipe.calibrate.is_none() => method_of_final(recipe),
        Method::Auto => Method::OF_GRAMS,
        method if method.needs().cross => Method::OF_GRAMS,
        method => method,
    }
}

/// The method of the artifact: the best there is for what is known.
pub(super) fn method_of_final(recipe: &Recipe) -> Method {
    let saved = recipe.sources().any(CalibrationSource::is_statistics);
    match (recipe.method, &recipe.calibrate) {
        (Method::Auto, Some(_)) if saved => Method::OF_GRAMS,
        (Method::Auto, Some(_)) => Method::Solved(BEST),
        (Method::Auto, None) => Method::Search,
        (method, _) => method,
    }
}

/// What judges, and the data that are left to observe the model on, if it is to be observed.
fn judges(
    recipe: &Recipe,
    variant: &Variant,
) -> Result<(Judges, Option<CalibrationRequest>), Error> {
    let data = recipe.calibrate.as_ref().map(|calibrate| &calibrate.data);
    let saved = recipe.sources().any(CalibrationSource::is_statistics);
    match data.filter(|_| !saved) {
        Some(data) if data.is_of_texts() => {
            let (judges, fit) = Judges::of_calibration(data, variant)?;
            Ok((judges, Some(fit)))
        }
        data => {
            let texts = Texts::new(variant, data.and_then(|data| data.window), false, None);
            let samples = data.map_or(SAMPLES, |data| data.samples);
            Ok((Judges::of_builtin(&texts, samples, None)?, data.cloned()))
        }
    }
}

/// The first windows that codes are fitted to, or of those that judge where those are drawn or unknown.
fn probing(
    fit: Option<&CalibrationRequest>,
    variant: &Variant,
    judges: &Judges,
) -> Result<Vec<Vec<u32>>, Error> {
    let windows = match fit.filter(|fit| fit.is_of_texts()) {
        Some(fit) => CalibrationSet::read(fit, variant)?.mixed(Vec::new()).0,
        None => judges.windows.clone(),
    };
    let length = windows.first().map_or(1, Vec::len).max(1);
    let count = PROBING_TOKENS.div_ceil(length).max(2).min(windows.len());
    Ok(windows.into_iter().take(count).collect())
}

/// Memory of the largest of the reading sweeps.
fn reading_memory(
    variant: &Variant,
    engine: &Engine,
    windows: [&Vec<Vec<u32>>; 2],
    resources: Resources,
) -> Result<ReadingMemory, Error> {
    let mut most: Option<ReadingMemory> = None;
    for windows in windows {
        let batches = judging(windows);
        let tokens: usize = windows.iter().map(Vec::len).sum();
        let held = Divergences::bytes(&batches, SIDE_BY_SIDE) + (tokens * size_of::<u32>()) as u64;
        let read = vec![variant; 1 + SIDE_BY_SIDE];
        let memory = planned(&read, &batches, engine, held, resources)?;
        if most.as_ref().is_none_or(|most| most.predicted_peak < memory.predicted_peak) {
            most = Some(memory);
        }
    }
    most.ok_or_else(|| Error::Refused("there is nothing to judge on".to_owned()))
}

impl Candidates {
    /// A plan in a folder that is not there yet.
    pub(super) fn planned_at(&self, path: &Path, recipe: &Recipe) -> Result<Plan, Error> {
        let Fixed { request, resources, .. } = &self.fixed;
        plan(&request.model, &self.fixed.target(path.to_owned()), recipe, *resources)
    }
}

impl Fixed {
    /// A folder at `path`.
    pub(super) fn target(&self, path: PathBuf) -> Target {
        let output = Some(path.join(""));
        Target { output, folder: None, force: true, scratch: self.request.target.scratch.clone() }
    }
}

/// Candidates of a reading sweep, beside the original.
pub(super) const SIDE_BY_SIDE: usize = 16;
/// Tokens that tell units apart: a divergence is as exact on few as on many, and all units see the same.
const PROBING_TOKENS: usize = 1024;
/// Windows of which some judge, where nothing is observed.
const SAMPLES: usize = 128;
/// The best method.
const BEST: &str = "qep+cd";
