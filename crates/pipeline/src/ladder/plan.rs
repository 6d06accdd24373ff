//! Everything about a ladder that is known before a weight is read.

use crate::calibration::{StatisticsPlan, StatisticsRequest, plan_statistics};
use crate::ladder::judges::{JudgedText, Judges};
use crate::method::Method;
use crate::output_target::Target;
use crate::plan::{Plan, nearest_folder};
use crate::recipe::{Calibrate, GroupSize, Recipe};
use crate::run::{plan, within};
use llmopt_checkpoint::{Output as Staged, OutputOptions, free_disk};
use llmopt_codec::Runtime;
use llmopt_data::{CalibrationRequest, CalibrationSource, Texts};
use llmopt_forward::Engine;
use llmopt_linalg::{Gemm, KernelChoice, Precision};
use llmopt_measure::Divergences;
use llmopt_model::Variant;
use llmopt_run::{Disk, Error, Resources, known_bytes};
use llmopt_scheme::{Granularity, Scheme};
use llmopt_sweep::{ReadingMemory, judging, planned};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Which sizes of a model are to be compared, and which of them stay.
#[derive(Clone, Debug)]
pub struct LadderRequest {
    /// The model's folder.
    pub model: PathBuf,
    /// Bits of a weight, one rung each.
    pub bits: Vec<u8>,
    /// How many columns of a row share a scale.
    pub group_size: GroupSize,
    /// What the model is observed on, once for all rungs, or files of statistics; none, if weights alone decide.
    pub calibrate: Option<Calibrate>,
    /// Windows that the model is observed on where there is calibration, and of the text at most.
    pub samples: usize,
    /// Tokens of a window of the text, if there is no calibration that says so.
    pub window: Option<usize>,
    /// A text to judge by; windows held out of the calibration data or of the built-in text, if there is none.
    pub text: Option<PathBuf>,
    /// Bits of the rungs whose artifacts stay.
    pub keep: Vec<u8>,
    /// The folder in which they will be; the one that the model lies in, if there is none.
    pub folder: Option<PathBuf>,
    /// Whether artifacts that are there are replaced by those that stay.
    pub force: bool,
    /// Whose rules the artifacts must follow.
    pub runtimes: Vec<Runtime>,
    /// What computes the products of judging, in f32.
    pub kernel: KernelChoice,
    /// A folder for hidden states that do not fit in memory; the one that artifacts go to, if there is none.
    pub scratch: Option<PathBuf>,
}

/// A ladder that can be carried out.
pub struct LadderPlan {
    pub(super) request: LadderRequest,
    pub(super) variant: Variant,
    pub(super) engine: Engine,
    pub(super) judges: Judges,
    /// How statistics are made; none, if there are some, or none are needed.
    pub(super) statistics: Option<StatisticsPlan>,
    pub(super) rungs: Vec<RungPlan>,
    /// Where everything is written before it is judged.
    pub(super) work: PathBuf,
    pub(super) memory: ReadingMemory,
    pub(super) scratch: PathBuf,
    pub(super) resources: Resources,
}

/// A rung, and what is known of it before.
pub(super) struct RungPlan {
    pub(super) facts: PlannedRung,
    /// What `quantize` would call it.
    pub(super) named: PathBuf,
}

/// A rung of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedRung {
    /// Bits of a weight.
    pub bits: u8,
    /// The scheme that most matrices get.
    pub scheme: String,
    /// How many columns share a scale; none, if whole rows do.
    pub group_size: Option<usize>,
    /// Bytes of its weight files.
    pub bytes: u64,
    /// Bytes of all its files but the record.
    pub all_bytes: u64,
    /// Bits of the weight files per weight, over the whole model.
    pub bits_per_weight: f64,
    /// Bits per weight of the linears alone.
    pub linear_bits_per_weight: Option<f64>,
    /// The name of its folder, if it stays.
    pub kept: Option<String>,
}

/// What a plan says.
#[derive(Clone, Debug, Serialize)]
pub struct LadderSummary {
    /// The model's name.
    pub model: String,
    /// Bytes of its weight files.
    pub bytes: u64,
    /// The names of what it is observed on; none, if weights alone decide.
    pub sources: Vec<String>,
    /// Windows of these; none of files of statistics.
    pub windows: Option<usize>,
    /// What all rungs are judged on.
    pub judged_on: JudgedText,
    /// The rungs, the largest first.
    pub rungs: Vec<PlannedRung>,
    /// The folder in which those that stay will be.
    pub folder: String,
    /// Bytes of the statistics; none, if none are made.
    pub statistics_bytes: Option<u64>,
    /// Memory of the reading sweep that judges.
    pub memory: ReadingMemory,
    /// Room for all rungs, statistics and hidden states.
    pub disk: Disk,
}

/// Decides everything that can be decided without reading a weight.
///
/// # Errors
/// What cannot be done is refused here, and what is wrong with the input is named.
pub fn plan_ladder(request: &LadderRequest, resources: Resources) -> Result<LadderPlan, Error> {
    within(resources, |resources| LadderPlan::new(request, resources))
}

impl LadderPlan {
    fn new(request: &LadderRequest, resources: Resources) -> Result<Self, Error> {
        let mut request = request.clone();
        request.bits.sort_unstable_by(|a, b| b.cmp(a));
        request.bits.dedup();
        check_kept(&request)?;
        let variant = Variant::open(&request.model)?;
        let gemm = Gemm::new(Precision::F32, request.kernel)
            .map_err(|error| Error::Refused(error.to_string()))?;
        let engine = Engine::new(gemm);
        let saved = request.has_statistics();
        let named = |suffix: &str| request.named(variant.source().path(), suffix);
        let work = named("-ladder")?;
        let folder = work.parent().map(Path::to_owned).unwrap_or_default();
        let scratch = request.scratch.clone().unwrap_or_else(|| nearest_folder(&work));
        let (mut rungs, mut observed) = (Vec::new(), None);
        // Plans and reports of all rungs are there while they are judged.
        let mut known = 0;
        for &bits in &request.bits {
            let recipe = request.recipe(bits, request.calibrate.clone().filter(|_| saved))?;
            let named = named(&format!("-{}", recipe.scheme.name()))?;
            let target =
                request.target(folder.join(WORK).join(named.file_name().unwrap_or_default()));
            let plan = plan(&request.model, &target, &recipe, resources)?;
            observed =
                plan.calibration.as_ref().map(|calibration| calibration.facts()).or(observed);
            let (tensors, names) = plan.names();
            known += 2 * known_bytes(tensors, names);
            let stays = request.keep.contains(&bits);
            if stays {
                Staged::check(&named, request.options(variant.source().path()))?;
            }
            rungs.push(RungPlan {
                facts: PlannedRung::new(bits, &plan, stays.then_some(&named)),
                named,
            });
        }
        let (judges, fit) = judges(&request, &variant, saved, observed.as_ref())?;
        let statistics = match (&request.calibrate, fit) {
            (Some(calibrate), Some(data)) => {
                request.check_solver(calibrate, &data, &folder, resources)?;
                let requested = statistics_request(&request, calibrate, data, &folder, &scratch);
                Some(plan_statistics(&requested, resources)?)
            }
            _ => None,
        };
        let batches = judging(&judges.windows);
        let tokens: usize = judges.windows.iter().map(Vec::len).sum();
        let held =
            Divergences::bytes(&batches, rungs.len()) + (tokens * size_of::<u32>()) as u64 + known;
        let read = vec![&variant; 1 + rungs.len()];
        let memory = planned(&read, &batches, &engine, held, resources)?;
        let plan = Self {
            request,
            variant,
            engine,
            judges,
            statistics,
            rungs,
            work,
            memory,
            scratch,
            resources,
        };
        plan.check_disk()?;
        Ok(plan)
    }

    /// The plan in a form for people and programs.
    ///
    /// # Errors
    /// If the model has too many sites for a file of statistics.
    pub fn summary(&self) -> Result<LadderSummary, Error> {
        let calibrate = self.request.calibrate.as_ref();
        let sources = calibrate.iter().flat_map(|calibrate| &calibrate.data.sources);
        let made = self.statistics.as_ref().map(StatisticsPlan::summary).transpose()?;
        Ok(LadderSummary {
            model: self.variant.name(),
            bytes: self.model_bytes(),
            sources: sources.map(CalibrationSource::name).collect(),
            windows: made.as_ref().map(|made| made.windows),
            judged_on: self.judges.text.clone(),
            rungs: self.rungs.iter().map(|rung| rung.facts.clone()).collect(),
            folder: self.folder().display().to_string(),
            statistics_bytes: made.map(|made| made.bytes),
            memory: self.memory.clone(),
            disk: self.disk()?,
        })
    }

    /// Bytes of the model's weight files.
    pub(super) fn model_bytes(&self) -> u64 {
        self.variant.source().shards().iter().map(|shard| shard.bytes).sum()
    }

    /// The folder in which artifacts will be.
    pub fn folder(&self) -> &Path {
        self.work.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn disk(&self) -> Result<Disk, Error> {
        let rungs: u64 = self.rungs.iter().map(|rung| rung.facts.all_bytes).sum();
        let statistics = self.statistics.as_ref().map(StatisticsPlan::summary).transpose()?;
        let statistics = statistics.map_or(0, |made| made.bytes);
        let hidden = if self.memory.spills && self.request.scratch.is_none() {
            self.memory.hidden_bytes
        } else {
            0
        };
        let free = free_disk(&nearest_folder(&self.work)).ok();
        Ok(Disk { needed: rungs + statistics + hidden, free })
    }

    fn check_disk(&self) -> Result<(), Error> {
        let Disk { needed, free } = self.disk()?;
        match free.filter(|&free| free < needed) {
            None => Ok(()),
            Some(free) => Err(Error::RefusedWithHint {
                what: format!(
                    "{} rungs, all there until they are judged, take {needed} bytes in `{}`, and there are {free} \
                     free",
                    self.rungs.len(),
                    self.folder().display()
                ),
                hint: "fewer `--bits` take less; `-o DIR` with `--keep` takes another folder"
                    .to_owned(),
            }),
        }
    }
}

/// What judges, and the data that are left to observe the model on, if they are to be observed.
fn judges(
    request: &LadderRequest,
    variant: &Variant,
    saved: bool,
    observed: Option<&llmopt_data::CalibrationFacts>,
) -> Result<(Judges, Option<CalibrationRequest>), Error> {
    let data = request.calibrate.as_ref().map(|calibrate| &calibrate.data).filter(|_| !saved);
    let (window, bos, date) = match data {
        Some(data) => (data.window, data.bos, data.date),
        None => (request.window, false, None),
    };
    let texts = Texts::new(variant, window, bos, date);
    match (&request.text, data) {
        (Some(path), data) => Ok((Judges::of_file(path, &texts, request.samples)?, data.cloned())),
        (None, Some(data)) if data.is_of_texts() => {
            let (judges, fit) = Judges::of_calibration(data, variant)?;
            Ok((judges, Some(fit)))
        }
        (None, data) => Ok((Judges::of_builtin(&texts, request.samples, observed)?, data.cloned())),
    }
}

fn statistics_request(
    request: &LadderRequest,
    calibrate: &Calibrate,
    data: CalibrationRequest,
    folder: &Path,
    scratch: &Path,
) -> StatisticsRequest {
    StatisticsRequest {
        model: request.model.clone(),
        data,
        gram: true,
        merge: Vec::new(),
        precision: calibrate.precision,
        kernel: calibrate.kernel,
        // Where it goes is known when the run begins.
        output: folder.join(WORK).join(STATISTICS),
        force: false,
        scratch: scratch.to_owned(),
    }
}

/// Rungs that stay are rungs.
fn check_kept(request: &LadderRequest) -> Result<(), Error> {
    match request.keep.iter().find(|bits| !request.bits.contains(bits)) {
        None => Ok(()),
        Some(bits) => Err(Error::RefusedWithHint {
            what: format!("`--keep {bits}` names no rung of the ladder"),
            hint: format!("add {bits} to `--bits`"),
        }),
    }
}

impl LadderRequest {
    /// Whether the sums are there already.
    pub(super) fn has_statistics(&self) -> bool {
        let sources = self.calibrate.iter().flat_map(|calibrate| &calibrate.data.sources);
        sources.into_iter().any(CalibrationSource::is_statistics)
    }

    /// What makes a rung.
    pub(super) fn recipe(&self, bits: u8, calibrate: Option<Calibrate>) -> Result<Recipe, Error> {
        let scheme = Scheme::preset(&format!("w{bits}a16"))
            .map_err(|error| Error::Refused(error.to_string()))?;
        let method = if calibrate.is_some() { Method::Auto } else { Method::Search };
        let (group_size, runtimes) = (self.group_size, self.runtimes.clone());
        Ok(Recipe { group_size, method, calibrate, runtimes, ..Recipe::new(scheme) })
    }

    /// Refuses a bound on memory under which no rung could be solved for, before the model is observed: columns
    /// decide what that takes, so that one rung speaks for all.
    fn check_solver(
        &self,
        calibrate: &Calibrate,
        data: &CalibrationRequest,
        folder: &Path,
        resources: Resources,
    ) -> Result<(), Error> {
        let Some(&bits) = self.bits.first() else { return Ok(()) };
        let calibrate = Calibrate { data: data.clone(), sequential: false, ..calibrate.clone() };
        let recipe = self.recipe(bits, Some(calibrate))?;
        let recipe = Recipe { method: Method::OF_GRAMS, ..recipe };
        let target = self.target(folder.join(WORK).join("solved"));
        plan(&self.model, &target, &recipe, resources).map(|_| ())
    }

    /// A folder at `path`.
    pub(super) fn target(&self, path: PathBuf) -> Target {
        let output = Some(path.join(""));
        Target { output, folder: None, force: false, scratch: self.scratch.clone() }
    }

    /// How artifacts that stay get their names.
    pub(super) fn options<'a>(&self, source: &'a Path) -> OutputOptions<'a> {
        OutputOptions { force: self.force, file: false, source }
    }

    /// What is made of the model, as `quantize` would call it.
    fn named(&self, source: &Path, suffix: &str) -> Result<PathBuf, Error> {
        let folder = self.folder.as_deref();
        let output = crate::default_output::DefaultOutput {
            input: source,
            folder,
            suffix: suffix.to_owned(),
            bare: false,
        };
        output.path()
    }
}

impl PlannedRung {
    fn new(bits: u8, plan: &Plan, kept: Option<&PathBuf>) -> Self {
        let name =
            |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let scheme = plan.most_common_scheme();
        Self {
            bits,
            scheme: scheme.to_string(),
            group_size: match scheme.granularity {
                Granularity::Group(columns) => Some(columns),
                _ => None,
            },
            bytes: plan.weight_bytes(),
            all_bytes: plan.files().values().sum(),
            bits_per_weight: plan.bits_per_weight(),
            linear_bits_per_weight: plan.linear_bits_per_weight(),
            kept: kept.map(name),
        }
    }
}

/// What statistics are called while rungs are made of them.
pub(super) const STATISTICS: &str = "statistics.safetensors";
/// A folder that is not there yet: plans are made for places in it.
const WORK: &str = "NAME-ladder.partial";
