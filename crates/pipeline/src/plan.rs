//! Everything known before the first data byte.

use crate::calibration::plan::Calibration;
use crate::calibration::smoothing::PlannedSmoothing;
use crate::config::{edited, quantization_config};
use crate::decision::PlannedDecision;
use crate::output_target::Target;
use crate::recipe::{DenseDtype, Format, Recipe};
use crate::select::{Fallback, Selection};
use llmopt_arch::{Model, scaled_weight};
use llmopt_checkpoint::{HeaderEntry, OutputOptions, REPORT_NAME, Source, report_name_beside};
use llmopt_codec::{QuantizationConfig, for_scheme};
use llmopt_model::nonfinite::Allowed;
use llmopt_model::{Checkpoint, QUANTIZATION_CONFIG, Variant};
use llmopt_quant::Quantizer;
use llmopt_rewrite::{
    ArtifactPlan, Context as StageContext, INDEX, OutputShard, OutputTensor, Treatment,
};
use llmopt_run::{Cancel, Error, Events, Memory, NonFinite, Resources};
use llmopt_scheme::{Granularity, Scheme};
use llmopt_tensor::{Dtype, TensorMeta};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What a run will do: every output tensor's name, type, shape and offset, every other file, and what
/// it takes. If a `Plan` exists, it can be carried out.
pub struct Plan {
    pub(crate) source: Arc<Source>,
    pub(crate) model: Arc<Model>,
    pub(crate) recipe: Recipe,
    pub(crate) output: PathBuf,
    /// Whether the output is a bare file.
    pub(crate) bare: bool,
    pub(crate) force: bool,
    pub(crate) artifact: ArtifactPlan,
    /// The new `config.json`.
    pub(crate) config: Option<Vec<u8>>,
    /// The size of the index, if there is to be one.
    pub(crate) index_bytes: Option<u64>,
    pub(crate) config_changes: Vec<String>,
    pub(crate) quantization: QuantizationConfig,
    pub(crate) fallbacks: Vec<Fallback>,
    /// What of the source is not finite, and allowed to be.
    pub(crate) nonfinite: Vec<NonFinite>,
    pub(crate) memory: Memory,
    /// What it was made from; none for an alternative.
    pub(crate) requested: Option<Box<Requested>>,
    /// Which channels are scaled, and with what.
    pub(crate) smoothing: Option<PlannedSmoothing>,
    /// How the blocks' matrices are quantized with what their inputs show.
    pub(crate) calibration: Option<Calibration>,
    /// Plainer artifacts that are made, too; the best of all gets the name.
    pub(crate) alternatives: Vec<Plan>,
    /// How the best is found, if there are any.
    pub(crate) decision: Option<PlannedDecision>,
    /// What tells the source from any other while it is being written: the times of its files do not.
    pub(crate) source_state: Option<String>,
}

/// What a plan is made from.
#[derive(Clone, Debug)]
pub(crate) struct Requested {
    pub(crate) checkpoint: Checkpoint,
    /// What of it is not finite, and allowed to be.
    pub(crate) nonfinite: Allowed,
    pub(crate) target: Target,
    pub(crate) recipe: Recipe,
    pub(crate) resources: Resources,
    /// Matrices that an attempt found too small to be quantized, each with what is the matter.
    pub(crate) small: BTreeMap<String, String>,
}

impl Plan {
    /// Plans the carrying out of `selection`.
    pub(crate) fn new(
        Checkpoint { source, model }: Checkpoint,
        (selection, smoothing): (&Selection, Option<PlannedSmoothing>),
        recipe: &Recipe,
        output: Output,
        resources: Resources,
    ) -> Result<Self, Error> {
        let quantization = quantization_config(&model, selection)
            .map_err(|error| Error::Refused(error.to_string()))?;
        let smooths = smoothing.as_ref();
        let context = Context { source: &source, model: &model, recipe, selection, smooths };
        let mut shards = Vec::with_capacity(source.shards().len());
        for number in 0..source.shards().len() {
            let metadata = context.metadata(number, output.bare, &quantization);
            shards.push(context.shard(number, metadata, &output)?);
        }
        let artifact = ArtifactPlan { source: source.clone(), shards };
        let memory = memory(&artifact, recipe, resources)?;
        let (config, config_changes) = config(&source, recipe, &quantization)?;
        let indexed = source.index().is_some() || (!output.bare && artifact.shards.len() > 1);
        let index_bytes = indexed.then(|| artifact.index_bytes());
        Ok(Self {
            recipe: recipe.clone(),
            output: output.path,
            bare: output.bare,
            force: output.force,
            config,
            index_bytes,
            config_changes,
            fallbacks: selection.fallbacks.clone(),
            nonfinite: Vec::new(),
            requested: None,
            artifact,
            quantization,
            memory,
            model,
            source,
            smoothing,
            calibration: None,
            alternatives: Vec::new(),
            decision: None,
            source_state: None,
        })
    }

    /// What it reads.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint { source: self.source.clone(), model: self.model.clone() }
    }

    /// Whether the calibration leaves no window to judge methods by.
    pub(crate) fn judges_nothing(&self) -> bool {
        let windows = |calibration: &Calibration| calibration.placeholders().len();
        self.calibration.as_ref().map(windows) == Some(1)
    }

    /// For a source that is being written, which `state` tells from any other.
    pub(crate) fn of_written(mut self, state: &str) -> Self {
        self.source_state = Some(state.to_owned());
        let alternatives = self.alternatives.into_iter();
        self.alternatives = alternatives.map(|plan| plan.of_written(state)).collect();
        self
    }

    /// With calibration, if the recipe asks for it.
    pub(crate) fn calibrated(
        mut self,
        scratch: Option<PathBuf>,
        resources: Resources,
    ) -> Result<Self, Error> {
        let Some(requested) = self.recipe.calibrate.clone() else { return Ok(self) };
        let scratch = scratch.unwrap_or_else(|| nearest_folder(&self.output));
        let calibration = Calibration::new(&self, &requested, scratch, resources)?;
        let unobserved = self
            .places()
            .filter(|(entry, place)| place.scheme().is_some() && !calibration.reaches(&entry.name));
        let why = "search on the weights alone, because its inputs are not observed";
        let fallback = |(entry, _): (&HeaderEntry, &OutputTensor)| Fallback {
            tensor: entry.name.clone(),
            why: why.to_owned(),
        };
        let fallbacks: Vec<Fallback> = unobserved.map(fallback).collect();
        if let (true, Some(Fallback { tensor, .. })) = (self.recipe.strict, fallbacks.first()) {
            return Err(Error::Refused(format!(
                "tensor `{tensor}`: {why}, and `--strict` forbids it"
            )));
        }
        self.fallbacks.extend(fallbacks);
        if let Some(smoothing) = &mut self.smoothing {
            smoothing.memory = Some(smoothing.sweep_memory(&calibration, resources)?);
        }
        self.calibration = Some(calibration);
        Ok(self)
    }

    /// The model that `calibration` observes and rewrites: smoothed, if it is to be.
    pub(crate) fn variant_of<'a>(&'a self, calibration: &'a Calibration) -> &'a Variant {
        let smoothed = self.smoothing.as_ref().and_then(PlannedSmoothing::variant);
        smoothed.unwrap_or(&calibration.variant)
    }

    /// Whether it is observed on the tokens of another stage, by the same kernel.
    ///
    /// # Errors
    /// If its texts cannot be read.
    pub(crate) fn observes(
        &self,
        other: &StageContext<'_>,
        (events, cancel): (&dyn Events, &Cancel),
    ) -> Result<bool, Error> {
        let Some(calibration) = &self.calibration else { return Ok(false) };
        let data = calibration.data(events, cancel)?;
        let same_kernel = calibration.kernel() == other.engine.gemm().name();
        Ok(same_kernel && calibration.batches(data.windows) == *other.batches)
    }

    /// Bytes that smoothing holds until the end of the run.
    pub(crate) fn smoothing_bytes(&self) -> u64 {
        self.smoothing.as_ref().map_or(0, PlannedSmoothing::held_bytes)
    }

    /// With so many bytes beside every part of the run.
    pub(crate) fn holding(mut self, bytes: u64) -> Self {
        let Memory { predicted_peak, smallest, budget, .. } = &mut self.memory;
        [predicted_peak, smallest, budget].into_iter().for_each(|of| *of += bytes);
        if let Some(calibration) = &mut self.calibration {
            calibration.memory = calibration.memory.clone().holding(bytes);
        }
        if let Some(smoothing) = &mut self.smoothing {
            smoothing.memory = smoothing.memory.take().map(|memory| memory.holding(bytes));
        }
        self
    }

    /// Where it is staged, and how.
    pub(crate) fn staging(&self) -> (&std::path::Path, OutputOptions<'_>) {
        let options =
            OutputOptions { force: self.force, file: self.bare, source: self.source.path() };
        (&self.output, options)
    }

    /// Where the artifact goes.
    pub fn output(&self) -> &std::path::Path {
        &self.output
    }

    /// Every source tensor with its place.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&HeaderEntry, &OutputTensor)> {
        let shards = self.source.shards().iter().zip(&self.artifact.shards);
        shards.flat_map(|(source, planned)| source.header.tensors().iter().zip(&planned.tensors))
    }

    /// How many tensors the artifact has, and the bytes of their names.
    pub(crate) fn names(&self) -> (usize, usize) {
        self.artifact.names()
    }

    /// The files of the artifact except its report, with their sizes.
    pub(crate) fn files(&self) -> BTreeMap<&str, u64> {
        let shards = self.artifact.shards.iter().map(|shard| (shard.name.as_str(), shard.bytes));
        let config = self.config.as_ref().map(|config| ("config.json", config.len() as u64));
        let index = self.index_bytes.map(|bytes| (INDEX, bytes));
        let side = self.side_files().iter().map(|side| (side.name.as_str(), side.bytes));
        shards.chain(config).chain(index).chain(side).collect()
    }

    /// The files that come along; none with a bare file.
    pub(crate) fn side_files(&self) -> &[llmopt_checkpoint::SideFile] {
        if self.bare { &[] } else { self.source.side_files() }
    }

    /// The name of the report.
    pub(crate) fn report_name(&self) -> String {
        match self.artifact.shards.first() {
            Some(shard) if self.bare => report_name_beside(&shard.name),
            _ => REPORT_NAME.to_owned(),
        }
    }
}

/// The folder that is there in which `path` will be.
pub(crate) fn nearest_folder(path: &std::path::Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = absolute.ancestors().skip(1).find(|folder| folder.is_dir());
    there.map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// Where the artifact goes, and as what.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) path: PathBuf,
    pub(crate) bare: bool,
    pub(crate) force: bool,
}

impl Output {
    /// How it is staged.
    pub(crate) fn options<'a>(&self, source: &'a Source) -> OutputOptions<'a> {
        OutputOptions { force: self.force, file: self.bare, source: source.path() }
    }

    /// The name of a weight file: the source's, unless a single file gets a name of its own.
    fn shard_name(&self, source: &Source, name: &str) -> String {
        match (self.bare, source.is_folder()) {
            (true, _) => {
                let name = self.path.file_name().unwrap_or_default();
                name.to_string_lossy().into_owned()
            }
            (false, true) if source.index().is_some() || source.shards().len() > 1 => {
                name.to_owned()
            }
            // The one name under which loaders find a file without an index.
            (false, _) => "model.safetensors".to_owned(),
        }
    }
}

struct Context<'a> {
    source: &'a Source,
    model: &'a Model,
    recipe: &'a Recipe,
    selection: &'a Selection,
    smooths: Option<&'a PlannedSmoothing>,
}

impl Context<'_> {
    fn shard(
        &self,
        number: usize,
        metadata: BTreeMap<String, String>,
        output: &Output,
    ) -> Result<OutputShard, Error> {
        let source = &self.source.shards()[number];
        let entries = source.header.tensors();
        let tensors =
            entries.iter().map(|entry| self.tensor(entry)).collect::<Result<Vec<_>, _>>()?;
        let name = output.shard_name(self.source, &source.name);
        OutputShard::of_source((number, source), name, metadata, tensors)
    }

    fn tensor(&self, entry: &HeaderEntry) -> Result<OutputTensor, Error> {
        let name = entry.name.as_str();
        let scheme = self.selection.scheme_of(name);
        let block_scale = self.model.block_scale_of(name).cloned();
        let treatment = match (scheme, &block_scale) {
            (Some(scheme), _) if self.recipe.format.is_dense() => Treatment::Dense(Some(scheme)),
            (Some(scheme), _) => Treatment::Quantize(scheme),
            (None, Some(_)) => Treatment::Dense(None),
            (None, None) => match self.absorbed(name) {
                Some(into) => Treatment::Omit { into },
                None if self.smooths.is_some_and(|found| found.changes(name)) => Treatment::Smooth,
                None => Treatment::Keep,
            },
        };
        let is_smoothed = treatment == Treatment::Smooth;
        let matrix = matches!(treatment, Treatment::Quantize(_) | Treatment::Dense(_));
        let tensor = OutputTensor::new(treatment, &entry.meta);
        match *entry.meta.shape() {
            [rows] if is_smoothed => return Ok(tensor.cut_as_matrix(rows, 1, 1)),
            [rows, columns] if is_smoothed => return Ok(tensor.cut_as_matrix(rows, columns, 1)),
            _ => {}
        }
        let (&[rows, columns], true) = (entry.meta.shape(), matrix) else { return Ok(tensor) };
        let step = scheme.map_or(1, |scheme| for_scheme(&scheme).row_step(&scheme));
        let scale_dtype = self.scale_dtype(&entry.meta);
        let dense_dtype = match self.recipe.format {
            Format::Dense(DenseDtype::F32) => Dtype::F32,
            _ => scale_dtype,
        };
        let tensor = OutputTensor { block_scale, scale_dtype, dense_dtype, ..tensor }
            .cut_as_matrix(rows, columns, step);
        match tensor.parts(entry) {
            Ok(_) => Ok(tensor),
            Err(error) => Err(Error::Refused(format!("tensor `{name}`: {error}"))),
        }
    }

    /// The weight whose scales, or those of whose inputs, `name` holds.
    fn absorbed(&self, name: &str) -> Option<String> {
        let weight = scaled_weight(name)?;
        self.model.block_scale_of(&weight)?;
        Some(weight)
    }

    /// Scales are stored as the weights were, or as the config says if those were in F8_E4M3.
    fn scale_dtype(&self, meta: &TensorMeta) -> Dtype {
        let keys = ["dtype", "torch_dtype", "text_config.dtype", "text_config.torch_dtype"];
        let config = self.source.config();
        let named = |key: &&str| config?.str_at(key).ok().flatten();
        match meta.dtype() {
            Dtype::F8E4M3 => match keys.iter().find_map(named) {
                Some("float16") => Dtype::F16,
                Some("float32") => Dtype::F32,
                _ => Dtype::BF16,
            },
            // As its values are read.
            Dtype::F64 => Dtype::F32,
            dtype => dtype,
        }
    }

    /// The source's own metadata; a bare file also carries the quantization config.
    fn metadata(
        &self,
        number: usize,
        bare: bool,
        quantization: &QuantizationConfig,
    ) -> BTreeMap<String, String> {
        let mut metadata = self.source.shards()[number].header.metadata().clone();
        metadata.entry("format".to_owned()).or_insert_with(|| "pt".to_owned());
        if bare && self.recipe.format == Format::CompressedTensors {
            let json = quantization.to_json().to_string();
            metadata.insert(QUANTIZATION_CONFIG.to_owned(), json);
        }
        metadata
    }
}

fn memory(artifact: &ArtifactPlan, recipe: &Recipe, resources: Resources) -> Result<Memory, Error> {
    let quantizer = recipe.method.quantizer();
    let (mut tensors, mut names_bytes, mut worker_bytes) = (0, 0, 0);
    for planned in artifact.tensors() {
        tensors += 1;
        names_bytes += planned.named.name.len();
        let source = planned.named.meta.dtype();
        worker_bytes = worker_bytes.max(working_bytes(planned.tensor, source, quantizer));
    }
    Memory::planned(tensors, names_bytes, worker_bytes, resources)
}

/// Memory that a worker holds while it works on a band of a tensor of type `source`.
fn working_bytes(tensor: &OutputTensor, source: Dtype, quantizer: &dyn Quantizer) -> u64 {
    let rows = tensor.band_rows.min(tensor.rows);
    let elements = rows as u64 * tensor.columns as u64;
    let read = elements * source.bits() as u64 / 8;
    match (&tensor.treatment, tensor.scheme()) {
        (_, Some(scheme)) => {
            let weights = elements * 4;
            let codes = elements;
            let scales = elements * 8 / tile(&scheme, tensor.columns) as u64;
            // Codes and scales exist as chosen, as encoded, and as decoded again.
            let search = quantizer.working_bytes(rows, tensor.columns, &scheme) as u64;
            read + weights + 3 * (codes + scales) + search.max(weights)
        }
        (Treatment::Dense(_) | Treatment::Smooth, None) => read + elements * 8,
        // Its rows are bytes.
        _ => elements,
    }
}

/// Weights that share a scale.
fn tile(scheme: &Scheme, columns: usize) -> usize {
    match scheme.granularity {
        Granularity::Channel => columns.max(1),
        Granularity::Group(size) => size.max(1),
        Granularity::Block { rows, columns } => (rows * columns).max(1),
    }
}

/// The new `config.json`, and what changed in it.
fn config(
    source: &Source,
    recipe: &Recipe,
    quantization: &QuantizationConfig,
) -> Result<(Option<Vec<u8>>, Vec<String>), Error> {
    let Some(config) = source.config() else { return Ok((None, Vec::new())) };
    let (config, changes) = edited(config, recipe, quantization).map_err(|error| Error::Input {
        what: format!("{error}\n  in `config.json`"),
        hint: None,
    })?;
    Ok((Some(config.to_bytes()), changes))
}

#[cfg(test)]
mod tests;
