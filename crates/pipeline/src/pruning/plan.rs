//! A pruned model that can be made: everything known before a weight is read.

use crate::default_output::DefaultOutput;
use crate::plan::Plan;
use crate::pruning::budget::{Demand, PruneMemory};
use crate::pruning::cut::Cut;
use crate::pruning::depth::PlannedSearch;
use crate::pruning::group::PruneGroup;
use crate::pruning::mix::{ChoiceSummary, LeftOut, Mix, PlannedChoice};
use crate::pruning::recipe::{PruneRecipe, PruneRequest};
use crate::pruning::shape::{Reached, nearest};
use crate::summary::PlannedFile;
use crate::unknown::UnknownTensors;
use llmopt_arch::axes::Axis;
use llmopt_data::{CalibrationFacts, CalibrationSet, CalibrationSource, in_batches};
use llmopt_model::{Checkpoint, Variant, notes, quantization_method};
use llmopt_rewrite::{INDEX, Treatment};
use llmopt_run::{Cancel, Disk, Error, Events, Resources, check_room};
use llmopt_sweep::Run;

use llmopt_checkpoint::{Output as Staged, OutputOptions, Source, free_disk};
use llmopt_forward::Engine;
use llmopt_linalg::Gemm;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What pruning will do. If a `PrunePlan` exists, it can be carried out.
pub struct PrunePlan {
    pub(super) variant: Variant,
    pub(super) engine: Engine,
    pub(super) recipe: PruneRecipe,
    pub(super) reached: Reached,
    /// What follows from the shape, as if the last layers went where some do.
    pub(super) cut: Cut,
    /// How it is found which layers go, if any do.
    pub(super) search: Option<PlannedSearch>,
    /// Windows that it is fitted to: the first.
    pub(super) fits: usize,
    /// A cheaper artifact of the same shape, which competes with those of other mixes in its place.
    pub(super) trial: Option<Box<PrunePlan>>,
    /// Plans for other mixes of axes, and how it is chosen among the trials of all, if there are any.
    pub(super) alternatives: Vec<PrunePlan>,
    pub(super) choice: Option<PlannedChoice>,
    /// Mixes of axes that this model cannot have, or not at this sparsity.
    pub(super) left_out: Vec<LeftOut>,
    pub(super) set: Option<CalibrationSet>,
    pub(super) memory: PruneMemory,
    pub(super) output: PathBuf,
    pub(super) force: bool,
    pub(super) scratch: PathBuf,
    pub(super) resources: Resources,
}

/// What `--dry-run` shows.
#[derive(Clone, Debug, Serialize)]
pub struct PruneSummary {
    /// The input's path.
    pub model: String,
    /// Its family.
    pub family: String,
    /// The output's path.
    pub output: String,
    /// The axes that lose something.
    pub axes: Vec<&'static str>,
    /// How units are chosen, and whether what reads them is refitted.
    pub method: String,
    /// The share of the blocks' parameters asked for.
    pub requested: f64,
    /// The share that goes.
    pub sparsity: f64,
    /// What widths are multiples of.
    pub align: usize,
    /// Parameters of the blocks before.
    pub block_parameters: u64,
    /// Parameters of the blocks after.
    pub block_parameters_left: u64,
    /// Prune groups: matrices that lose units together.
    pub groups: usize,
    /// What changes in `config.json`.
    pub config_changes: Vec<String>,
    /// Tensors that lose rows or columns.
    pub cut_tensors: usize,
    /// The files of the artifact except its report, with their exact sizes; where layers go, as if the
    /// last ones went.
    pub files: Vec<PlannedFile>,
    /// The size of the source: bytes of its weight files.
    pub input_bytes: u64,
    /// The size of the artifact: bytes of its weight files, headers included.
    pub output_bytes: u64,
    /// What the model has that its family does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_tensors: Option<UnknownTensors>,
    /// Windows that the model is observed on; none, if it is not.
    pub windows: usize,
    /// Tokens of a window.
    pub window: usize,
    /// The names of the sources.
    pub sources: Vec<String>,
    /// Layers that go; which ones is found by the run.
    pub layers: usize,
    /// How it is chosen among several mixes of axes, if it is.
    pub choice: Option<ChoiceSummary>,
    /// Mixes of axes that this model cannot have, or not at this sparsity.
    pub left_out: Vec<LeftOut>,
    /// Reading sweeps that draw windows.
    pub sweeps: u64,
    /// Reading sweeps that find the layers that go, at most.
    pub search_sweeps: usize,
    /// What computes the products.
    pub kernel: &'static str,
    /// Memory that it will take.
    pub memory: PruneMemory,
    /// Room for hidden states on the disk.
    pub scratch: Disk,
    /// Room for the artifact on the disk.
    pub disk: Disk,
    /// What a reader should know of the model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What is to be pruned, and where the result goes.
pub(super) struct Opened {
    variant: Variant,
    output: PathBuf,
}

impl Opened {
    /// Opens the model.
    ///
    /// # Errors
    /// If it cannot be pruned, or there is an output already.
    pub(super) fn of(request: &PruneRequest) -> Result<Self, Error> {
        refuse_file(&request.model)?;
        let source = Arc::new(Source::open(&request.model)?);
        if let Some(method) = quantization_method(&source) {
            return Err(Error::Input {
                what: format!(
                    "the checkpoint is quantized already, by `{method}`: codes cannot be cut"
                ),
                hint: Some(
                    "prune the original checkpoint, then quantize what comes out".to_owned(),
                ),
            });
        }
        let PruneRequest { recipe, force, .. } = request;
        let output = match &request.output {
            Some(output) => output.clone(),
            None => {
                let suffix = format!("-p{:02.0}", recipe.sparsity * 100.0);
                DefaultOutput { input: source.path(), folder: None, suffix, bare: false }.path()?
            }
        };
        let options = OutputOptions { force: *force, file: false, source: source.path() };
        Staged::check(&output, options)?;
        let variant = Variant::of(&Checkpoint::of(source)?)?;
        UnknownTensors::check(variant.model(), &recipe.runtimes)?;
        Ok(Self { variant, output })
    }
}

/// How many windows an artifact is fitted to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fit {
    /// All that do not judge.
    All,
    /// So large a part of them as compares mixes of axes.
    Part,
}

impl Fit {
    /// The number of windows, of so many, where `needed` have a token for each column of the widest matrix.
    fn windows(self, all: usize, needed: usize) -> usize {
        match self {
            Self::All => all,
            Self::Part => all.min((all / PARTS).max(TIMES * needed).max(1)),
        }
    }
}

/// Plans one artifact of several, `plans` in all.
pub(super) fn planned(
    request: &PruneRequest,
    opened: &Opened,
    (recipe, fit): (PruneRecipe, Fit),
    plans: u64,
    resources: Resources,
) -> Result<PrunePlan, Error> {
    let Opened { variant, output } = opened;
    let (variant, output) = (variant.clone(), output.clone());
    let reached = nearest(variant.model(), &recipe.axes, recipe.sparsity, recipe.align)?;
    if recipe.bias && recipe.axes == [Axis::Layers] {
        return Err(Error::Refused("`--bias`: no matrix reads axis `layers`".to_owned()));
    }
    let cut = Cut::new(&variant, &recipe, reached.shape.clone())?;
    let worst = cut.worst(&variant, &recipe);
    let gemm = Gemm::new(recipe.calibrate.precision, recipe.calibrate.kernel)
        .map_err(|error| Error::Refused(error.to_string()))?;
    let engine = Engine::new(gemm);
    let set = match recipe.observes() {
        true => Some(data(&recipe, &variant, &worst)?),
        false => None,
    };
    let own = set.as_ref().and_then(CalibrationSet::self_generated);
    let drawing = own.map(|own| own.memory(&variant, &engine, resources)).transpose()?;
    let windows = set.as_ref().map(CalibrationSet::placeholders);
    let fits = set.as_ref().map_or(0, |set| {
        let needed = widest(&worst).div_ceil(set.window().max(1));
        fit.windows(recipe.fitting(&set.placeholders()).len(), needed)
    });
    let all = windows.as_ref().map(|windows| recipe.fitting(windows));
    let windows = windows.as_ref().map(|windows| &windows[..fits]);
    let batches = windows.map(|windows| in_batches(windows.to_vec(), false));
    let demand = Demand {
        variant: &variant,
        engine: &engine,
        recipe: &recipe,
        groups: &worst,
        names: cut.artifact.names(),
        plans,
        resources,
    };
    let search = match (recipe.axes.contains(&Axis::Layers), all) {
        (true, Some(windows)) => {
            let (shape, requested) = (reached.shape.clone(), recipe.sparsity);
            Some(PlannedSearch::new(&variant, &engine, (shape, requested), windows, resources)?)
        }
        _ => None,
    };
    let reading = [drawing, search.as_ref().map(|search| search.memory.clone())];
    let memory = demand.planned(batches.as_ref(), reading.iter().flatten())?;
    let scratch = request.scratch.clone().unwrap_or_else(|| crate::plan::nearest_folder(&output));
    let plan = PrunePlan {
        variant,
        engine,
        recipe,
        reached,
        cut,
        search,
        fits,
        trial: None,
        alternatives: Vec::new(),
        choice: None,
        left_out: Vec::new(),
        set,
        memory,
        output,
        force: request.force,
        scratch,
        resources,
    };
    check_room(&plan.scratch_room(), &plan.scratch)?;
    Ok(plan)
}

impl PrunePlan {
    /// The files that it reads.
    pub(super) fn source(&self) -> &Source {
        self.variant.source()
    }

    /// Where it is staged, and how.
    pub(super) fn staging(&self) -> (&Path, OutputOptions<'_>) {
        let source = self.variant.source().path();
        (&self.output, OutputOptions { force: self.force, file: false, source })
    }

    /// With what it is carried out.
    pub(super) fn run<'a>(&'a self, events: &'a dyn Events, cancel: &'a Cancel) -> Run<'a> {
        let Self { engine, resources, scratch, .. } = self;
        Run { engine, resources: *resources, scratch, events, cancel }
    }

    /// Whether a plan for what is pruned can go through the blocks in the same sweep: what one stage holds
    /// while the other works must leave it room.
    pub(crate) fn in_one_sweep_with(&self, then: &Plan) -> bool {
        let Some(calibration) = &then.calibration else { return false };
        let fits = self.memory.resting + calibration.memory.predicted_peak <= self.resources.memory
            && calibration.memory.resting + self.memory.predicted_peak <= self.resources.memory;
        let needs_all = then.smoothing.is_some() || !calibration.is_of_texts();
        let observes = self.recipe.sums() && self.choice.is_none();
        fits && observes && calibration.sequential && !needs_all && !then.recipe.allow_nonfinite
    }

    /// Where the artifact goes.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// The plan in a form for people and programs.
    pub fn summary(&self) -> PruneSummary {
        let model = self.variant.model();
        let facts = self.facts();
        let files = self.files();
        let output_bytes = self.cut.artifact.bytes();
        let tensors = self.cut.artifact.tensors();
        let recipe = &self.recipe;
        let refit = if recipe.refit { ", refitted" } else { "" };
        let bias = if recipe.bias { ", with a bias" } else { "" };
        PruneSummary {
            model: self.variant.source().path().display().to_string(),
            family: model.family().map(|family| family.name().to_owned()).unwrap_or_default(),
            output: self.output.display().to_string(),
            axes: self.cut.axes(),
            method: format!("{}{refit}{bias}", recipe.method),
            requested: recipe.sparsity,
            sparsity: self.reached.sparsity,
            align: self.reached.align,
            block_parameters: model.block_parameters(),
            block_parameters_left: model.parameters_left(&self.reached.shape),
            groups: self.cut.groups.len(),
            config_changes: self.cut.config_changes.clone(),
            cut_tensors: tensors.filter(|t| t.tensor.treatment != Treatment::Keep).count(),
            input_bytes: self.variant.source().shards().iter().map(|shard| shard.bytes).sum(),
            files: files.into_iter().map(|(name, bytes)| PlannedFile { name, bytes }).collect(),
            output_bytes,
            unknown_tensors: UnknownTensors::of(model, &recipe.runtimes),
            windows: facts.as_ref().map_or(0, |facts| facts.windows),
            window: facts.as_ref().map_or(0, |facts| facts.window),
            sources: match &self.set {
                Some(_) => {
                    recipe.calibrate.data.sources.iter().map(CalibrationSource::to_string).collect()
                }
                None => Vec::new(),
            },
            sweeps: self
                .set
                .as_ref()
                .and_then(CalibrationSet::self_generated)
                .map_or(0, |_| llmopt_data::SWEEPS),
            layers: self.cut.gone().len(),
            choice: self.choice.as_ref().map(|choice| self.choosing(choice)),
            left_out: self.left_out.clone(),
            search_sweeps: self
                .written()
                .filter_map(|plan| Some(plan.search.as_ref()?.sweeps()))
                .sum(),
            kernel: self.engine.gemm().name(),
            memory: self.memory.clone(),
            scratch: self.scratch_room(),
            notes: self.notes(),
            disk: Disk {
                needed: self.written().map(|plan| plan.files().values().sum::<u64>()).sum(),
                free: free_disk(&crate::plan::nearest_folder(&self.output)).ok(),
            },
        }
    }

    fn choosing(&self, choice: &PlannedChoice) -> ChoiceSummary {
        ChoiceSummary {
            candidates: self.all().map(Self::mix).collect(),
            windows: choice.windows,
            memory: choice.memory.clone(),
        }
    }

    /// The axes, and what goes along them.
    pub(super) fn mix(&self) -> Mix {
        Mix { axes: self.cut.axes(), sparsity: self.reached.sparsity }
    }

    /// The windows that the model is observed on, without those that judge.
    pub(super) fn fitting<'w>(&self, windows: &'w [Vec<u32>]) -> &'w [Vec<u32>] {
        &windows[..self.fits.min(windows.len())]
    }

    /// The trials of all mixes, if there are several.
    pub(super) fn trials(&self) -> impl Iterator<Item = &Self> {
        self.all().filter_map(|plan| plan.trial.as_deref())
    }

    /// Every artifact that is written, the last of them one of several.
    fn written(&self) -> impl Iterator<Item = &Self> {
        self.trials().chain([self])
    }

    /// This plan, and the other mixes of axes.
    pub(super) fn all(&self) -> impl Iterator<Item = &Self> {
        [self].into_iter().chain(&self.alternatives)
    }

    /// What a reader should know of the model.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = notes::of_running(self.variant.source(), self.variant.model());
        notes.extend(self.choice.as_ref().and_then(PlannedChoice::note));
        notes
    }

    /// What is known of the data before anything is drawn.
    pub(crate) fn facts(&self) -> Option<CalibrationFacts> {
        self.set.as_ref().map(|set| set.clone().mixed(Vec::new()).1)
    }

    /// The files of the artifact except its report, with their sizes.
    pub(super) fn files(&self) -> BTreeMap<String, u64> {
        self.files_of(&self.cut)
    }

    /// Those of another cut.
    pub(super) fn files_of(&self, cut: &Cut) -> BTreeMap<String, u64> {
        let shards = cut.artifact.shards.iter().map(|shard| (shard.name.clone(), shard.bytes));
        let config = ("config.json".to_owned(), cut.config.len() as u64);
        let index = cut.has_index().then(|| (INDEX.to_owned(), cut.artifact.index_bytes()));
        let side = self.variant.source().side_files().iter();
        let side = side.map(|side| (side.name.clone(), side.bytes));
        shards.chain([config]).chain(index).chain(side).collect()
    }

    pub(super) fn scratch_room(&self) -> Disk {
        let searches = self.written().filter_map(|plan| Some(&plan.search.as_ref()?.memory));
        let choice = self.choice.as_ref().map(|choice| &choice.memory);
        let spilled = searches.chain(choice).filter(|memory| memory.spills);
        let reading = spilled.map(|memory| memory.hidden_bytes).max().unwrap_or(0);
        let needed = if self.memory.spills { self.memory.hidden_bytes } else { 0 }.max(reading);
        Disk { needed, free: free_disk(&self.scratch).ok() }
    }
}

/// Enough windows for the refit.
fn data(
    recipe: &PruneRecipe,
    variant: &Variant,
    groups: &[PruneGroup],
) -> Result<CalibrationSet, Error> {
    let set = CalibrationSet::read(&recipe.calibrate.data, variant)?;
    let there = recipe.fitting(&set.placeholders()).len() * set.window();
    let needed = widest(groups);
    if recipe.needs_gram() && there < needed {
        return Err(Error::RefusedWithHint {
            what: format!(
                "{there} tokens to calibrate on are fewer than the refit needs: {needed}, one for \
                 each column of the widest matrix"
            ),
            hint: "more `--samples`, a longer `--window`, or more text".to_owned(),
        });
    }
    Ok(set)
}

/// Columns of the widest matrix that all tokens reach.
fn widest(groups: &[PruneGroup]) -> usize {
    let dense = groups.iter().filter(|group| group.coupling.expert.is_none());
    dense.map(|group| group.columns).max().unwrap_or(0)
}

/// A trial is fitted to one of so many parts of the windows,
const PARTS: usize = 4;
/// but to so many times the tokens that a refit cannot do without.
const TIMES: usize = 4;

/// A bare file does not say how it is built.
fn refuse_file(model: &Path) -> Result<(), Error> {
    if model.is_dir() || !model.exists() {
        return Ok(());
    }
    if model.parent().is_some_and(|folder| folder.join("config.json").is_file()) {
        return Ok(());
    }
    Err(Error::RefusedWithHint {
        what: format!(
            "`{}` has no `config.json` beside it: without its structure nothing tells which rows \
             and columns change together",
            model.display()
        ),
        hint: "give the folder that holds weights and config".to_owned(),
    })
}
