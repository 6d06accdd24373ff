//! A statistics file that can be made: everything known before a weight is read.

use crate::calibration::budget::CalibrationMemory;
use crate::calibration::plan::sites;
use crate::calibration::statistics::budget::Demand;
use crate::calibration::statistics::described::{Described, ObservedRun};
use crate::calibration::statistics::identity::ModelIdentity;
use crate::calibration::statistics::saved::Saved;
use crate::calibration::statistics::writer::Layout;
use llmopt_calib::{InputSite, Needs};
use llmopt_checkpoint::{RequestError, free_disk, is_inside};
use llmopt_data::{CalibrationRequest, CalibrationSet, CalibrationSource, in_batches};
use llmopt_forward::Engine;
use llmopt_linalg::{Gemm, KernelChoice, Precision};
use llmopt_model::{Variant, notes};
use llmopt_run::{Disk, Error, Resources, check_room};
use serde::Serialize;
use std::path::PathBuf;

/// Which statistics are asked for.
#[derive(Clone, Debug)]
pub struct StatisticsRequest {
    /// The model.
    pub model: PathBuf,
    /// The data.
    pub data: CalibrationRequest,
    /// Whether Gram matrices are kept, too.
    pub gram: bool,
    /// Statistics files of the same model, whose sums are added.
    pub merge: Vec<PathBuf>,
    /// What the inputs of products are rounded to.
    pub precision: Precision,
    /// What computes the products.
    pub kernel: KernelChoice,
    /// The file.
    pub output: PathBuf,
    /// Whether a file that is there is replaced.
    pub force: bool,
    /// A folder for hidden states that do not fit in memory.
    pub scratch: PathBuf,
}

/// Statistics that can be made.
pub struct StatisticsPlan {
    pub(super) request: StatisticsRequest,
    pub(super) variant: Variant,
    pub(super) engine: Engine,
    pub(super) set: CalibrationSet,
    pub(super) merged: Saved,
    pub(super) identity: ModelIdentity,
    /// The sites of every block.
    pub(super) blocks: Vec<Vec<InputSite>>,
    pub(super) memory: CalibrationMemory,
    pub(super) resources: Resources,
}

/// What a plan says.
#[derive(Clone, Debug, Serialize)]
pub struct StatisticsSummary {
    /// The model.
    pub model: ModelIdentity,
    /// The file.
    pub output: String,
    /// Its size, but for what is drawn from the model.
    pub bytes: u64,
    /// How many sites there are.
    pub sites: usize,
    /// Whether Gram matrices are kept, too.
    pub gram: bool,
    /// Windows.
    pub windows: usize,
    /// Tokens of a window.
    pub window: usize,
    /// The names of the sources.
    pub sources: Vec<String>,
    /// The names of the files whose sums are added.
    pub merged: Vec<String>,
    /// What computes the products.
    pub kernel: String,
    /// Memory that it will take.
    pub memory: CalibrationMemory,
    /// Room for hidden states on the disk.
    pub scratch: Disk,
    /// What a reader should know of the model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Decides everything that can be decided without reading a weight.
///
/// # Errors
/// What cannot be done is refused here, and what is wrong with the input is named.
pub fn plan_statistics(
    request: &StatisticsRequest,
    resources: Resources,
) -> Result<StatisticsPlan, Error> {
    check_output(request)?;
    let gemm = Gemm::new(request.precision, request.kernel)
        .map_err(|error| Error::Refused(error.to_string()))?;
    let engine = Engine::new(gemm);
    let variant = Variant::open(&request.model)?;
    if Saved::open(&request.data)?.is_some() {
        return Err(statistics_as_data());
    }
    let set = CalibrationSet::read(&request.data, &variant)?;
    let drawing =
        set.self_generated().map(|own| own.memory(&variant, &engine, resources)).transpose()?;
    let identity = ModelIdentity::of(&variant)?;
    let merged = Saved::of(&request.merge)?;
    merged.check_identity(&identity)?;
    check_grams(request, &merged)?;
    let program = variant.program();
    let blocks = program.blocks.iter().map(|block| sites(block, |_| true));
    let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
    let batches = in_batches(set.placeholders(), false);
    let demand = Demand {
        variant: &variant,
        batches: &batches,
        engine: &engine,
        needs: Needs { gram: request.gram, ..Needs::default() },
        merged: &merged,
    };
    let memory = demand.planned(&blocks, resources)?.after(drawing);
    let request = request.clone();
    let plan = StatisticsPlan {
        request,
        variant,
        engine,
        set,
        merged,
        identity,
        blocks,
        memory,
        resources,
    };
    check_room(&plan.scratch_room(), &plan.request.scratch)?;
    Ok(plan)
}

impl StatisticsPlan {
    /// The plan in a form for people and programs.
    ///
    /// # Errors
    /// If the model has too many sites for a file.
    pub fn summary(&self) -> Result<StatisticsSummary, Error> {
        let facts = self.set.clone().mixed(Vec::new()).1;
        let layout = self.layout(&self.described(vec![self.observed_run(facts)]))?;
        let sources = &self.request.data.sources;
        Ok(StatisticsSummary {
            model: self.identity.clone(),
            output: self.request.output.display().to_string(),
            bytes: layout.bytes,
            sites: self.sites().count(),
            gram: self.request.gram,
            windows: self.set.windows(),
            window: self.set.window(),
            sources: sources.iter().map(CalibrationSource::to_string).collect(),
            merged: self.merged.files().iter().map(|file| file.name.clone()).collect(),
            kernel: self.engine.gemm().name().to_owned(),
            memory: self.memory.clone(),
            scratch: self.scratch_room(),
            notes: self.notes(),
        })
    }

    /// What a reader should know of the model.
    pub(super) fn notes(&self) -> Vec<String> {
        notes::of_running(self.variant.source(), self.variant.model())
    }

    /// What is said of the run that is planned.
    pub(super) fn observed_run(&self, data: llmopt_data::CalibrationFacts) -> ObservedRun {
        ObservedRun::new(self.request.precision, self.engine.gemm().name(), data)
    }

    /// What the file will say of itself, when all that is merged is followed by `runs`.
    pub(super) fn described(&self, runs: Vec<ObservedRun>) -> Described {
        let before = self.merged.files().iter().flat_map(|file| file.described.runs.clone());
        let runs = before.chain(runs).collect();
        Described::new(self.identity.clone(), runs, self.sites(), self.request.gram)
    }

    pub(super) fn layout(&self, described: &Described) -> Result<Layout, Error> {
        Layout::new(described, self.sites(), self.request.gram)
    }

    pub(super) fn sites(&self) -> impl Iterator<Item = &InputSite> {
        self.blocks.iter().flatten()
    }

    fn scratch_room(&self) -> Disk {
        let needed = if self.memory.spills { self.memory.hidden_bytes } else { 0 };
        Disk { needed, free: free_disk(&self.request.scratch).ok() }
    }
}

/// The output is a file of its own, and not among the model's.
fn check_output(request: &StatisticsRequest) -> Result<(), Error> {
    let StatisticsRequest { output, model, force, .. } = request;
    if output.extension().is_none_or(|ending| ending != "safetensors") {
        return Err(Error::RefusedWithHint {
            what: format!("`{}` does not end in `.safetensors`", output.display()),
            hint: "statistics are a safetensors file".to_owned(),
        });
    }
    if is_inside(output, model) {
        return Err(Error::RefusedWithHint {
            what: format!("`{}` is in the folder of the model", output.display()),
            hint: "loaders would take it for one of the model's files".to_owned(),
        });
    }
    match output.exists() && !force {
        true => {
            Err(llmopt_checkpoint::Error::from(RequestError::Exists { path: output.clone() })
                .into())
        }
        false => Ok(()),
    }
}

fn statistics_as_data() -> Error {
    Error::RefusedWithHint {
        what: "a statistics file is no data to observe a model on".to_owned(),
        hint: "`--merge FILE` adds its sums; `llmopt quantize --calibrate FILE` uses it".to_owned(),
    }
}

/// Sums can only be added to those of the same kind.
fn check_grams(request: &StatisticsRequest, merged: &Saved) -> Result<(), Error> {
    match merged.files().iter().find(|file| file.gram != request.gram) {
        None => Ok(()),
        Some(file) if request.gram => Err(Error::RefusedWithHint {
            what: format!("`{}` has no Gram matrices to add to", file.name),
            hint: "without `--gram`, second moments are merged".to_owned(),
        }),
        Some(file) => Err(Error::RefusedWithHint {
            what: format!("`{}` has Gram matrices, which would be lost", file.name),
            hint: "`--gram` keeps them".to_owned(),
        }),
    }
}
