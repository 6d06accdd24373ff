//! A pruned model that can be made: everything known before a weight is read.

use super::budget::{Demand, PruneMemory};
use super::layout::{Fate, Layout, new_biases};
use super::recipe::{PruneRecipe, PruneRequest};
use super::shape::{Reached, nearest, refused};
use super::target::Target;
use crate::calibration::{CalibrationFacts, CalibrationSet, check_room, in_batches};
use crate::recipe::Resources;
use crate::run::quantization_method;
use crate::variant::Variant;
use crate::{CalibrationSource, Disk, Error, PlannedFile};
use llmopt_arch::Model;
use llmopt_arch::axes::{Axis, Edit, Kept, Shape};
use llmopt_checkpoint::{Config, Output as Staged, OutputOptions, Source, free_disk};
use llmopt_forward::Engine;
use llmopt_linalg::Gemm;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What pruning will do. If a `PrunePlan` exists, it can be carried out.
pub struct PrunePlan {
    pub(super) variant: Variant,
    pub(super) engine: Engine,
    pub(super) recipe: PruneRecipe,
    pub(super) reached: Reached,
    /// Every place that loses units, in the order of axes, layers and experts.
    pub(super) targets: Vec<Target>,
    pub(super) layout: Layout,
    /// The new `config.json`.
    pub(super) config: Vec<u8>,
    config_changes: Vec<String>,
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
    pub asked: f64,
    /// The share that goes.
    pub sparsity: f64,
    /// What widths are multiples of.
    pub align: usize,
    /// Parameters of the blocks before.
    pub block_parameters: u64,
    /// Parameters of the blocks after.
    pub block_parameters_left: u64,
    /// Places that lose units.
    pub places: usize,
    /// What changes in `config.json`.
    pub config_changes: Vec<String>,
    /// Tensors that lose rows or columns.
    pub cut_tensors: usize,
    /// The files of the artifact except its report, with their exact sizes.
    pub files: Vec<PlannedFile>,
    /// Bytes of the source's weights.
    pub input_bytes: u64,
    /// Bytes of the artifact's files.
    pub output_bytes: u64,
    /// Windows that the model is observed on; none, if it is not.
    pub windows: usize,
    /// Tokens of a window.
    pub window: usize,
    /// The names of the sources.
    pub sources: Vec<String>,
    /// Reading sweeps before the rewriting one: those that draw windows.
    pub sweeps: u64,
    /// What computes the products.
    pub kernel: &'static str,
    /// Memory that it will take.
    pub memory: PruneMemory,
    /// Room for hidden states on the disk.
    pub scratch: Disk,
    /// Room for the artifact on the disk.
    pub disk: Disk,
}

/// Decides everything that can be decided without reading a weight.
///
/// # Errors
/// What cannot be done is refused here, and what is wrong with the input is named.
pub fn plan_prune(request: &PruneRequest, resources: Resources) -> Result<PrunePlan, Error> {
    let recipe = request.recipe.clone();
    refuse_file(&request.model)?;
    let source = Source::open(&request.model)?;
    if let Some(method) = quantization_method(&source) {
        return Err(Error::Input {
            what: format!(
                "the checkpoint is quantized already, by `{method}`: codes cannot be cut"
            ),
            hint: Some("prune the original checkpoint, then quantize what comes out".to_owned()),
        });
    }
    let output = request.output.clone().unwrap_or_else(|| default_path(&source, recipe.sparsity));
    let options = OutputOptions { force: request.force, file: false, source: source.path() };
    Staged::check(&output, options)?;
    let variant = Variant::open(&request.model)?;
    let reached = nearest(variant.model(), &recipe.axes, recipe.sparsity, recipe.align)?;
    let targets = targets(variant.model(), &recipe, &reached.shape)?;
    let biases = match recipe.bias {
        true => new_biases(variant.model(), &targets, &reached.shape)?,
        false => Vec::new(),
    };
    let layout = Layout::new(variant.source(), variant.model(), &targets, recipe.refit, &biases)?;
    let (config, config_changes) = config(&variant, &recipe, &reached.shape)?;
    let gemm = Gemm::new(recipe.calibrate.precision, recipe.calibrate.kernel)
        .map_err(|error| Error::Refused(error.to_string()))?;
    let engine = Engine::new(gemm);
    let set = match recipe.observes() {
        true => Some(data(&recipe, &variant, &targets)?),
        false => None,
    };
    let own = set.as_ref().and_then(CalibrationSet::own);
    let drawing = own.map(|own| own.memory(&variant, &engine, resources)).transpose()?;
    let batches = set.as_ref().map(|set| in_batches(set.placeholders(), false));
    let names = layout
        .tensors()
        .fold((0, 0), |(count, bytes), (_, tensor)| (count + 1, bytes + tensor.name.len()));
    let demand = Demand {
        variant: &variant,
        engine: &engine,
        recipe: &recipe,
        targets: &targets,
        names,
        resources,
    };
    let memory = demand.planned(batches.as_ref(), drawing)?;
    let scratch = request.scratch.clone().unwrap_or_else(|| crate::plan::nearest_folder(&output));
    let plan = PrunePlan {
        variant,
        engine,
        recipe,
        reached,
        targets,
        layout,
        config,
        config_changes,
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
    /// Where the artifact goes.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// The plan in a form for people and programs.
    pub fn summary(&self) -> PruneSummary {
        let model = self.variant.model();
        let facts = self.facts();
        let files = self.files();
        let output_bytes = files.values().sum();
        let recipe = &self.recipe;
        let refit = if recipe.refit { ", refitted" } else { "" };
        let bias = if recipe.bias { ", with a bias" } else { "" };
        PruneSummary {
            model: self.variant.source().path().display().to_string(),
            family: model.family().map(|family| family.name().to_owned()).unwrap_or_default(),
            output: self.output.display().to_string(),
            axes: recipe.axes.iter().map(|axis| axis.name()).collect(),
            method: format!("{}{refit}{bias}", recipe.method),
            asked: recipe.sparsity,
            sparsity: self.reached.sparsity,
            align: self.reached.align,
            block_parameters: model.block_parameters(),
            block_parameters_left: model.parameters_left(&self.reached.shape),
            places: self.targets.len(),
            config_changes: self.config_changes.clone(),
            cut_tensors: self.layout.tensors().filter(|(_, t)| t.fate != Fate::Kept).count(),
            input_bytes: self.variant.source().shards().iter().map(|shard| shard.bytes).sum(),
            files: files.into_iter().map(|(name, bytes)| PlannedFile { name, bytes }).collect(),
            output_bytes,
            windows: facts.as_ref().map_or(0, |facts| facts.windows),
            window: facts.as_ref().map_or(0, |facts| facts.window),
            sources: match &self.set {
                Some(_) => {
                    recipe.calibrate.data.sources.iter().map(CalibrationSource::name).collect()
                }
                None => Vec::new(),
            },
            sweeps: self
                .set
                .as_ref()
                .and_then(CalibrationSet::own)
                .map_or(0, |_| crate::calibration::SWEEPS),
            kernel: self.engine.gemm().name(),
            memory: self.memory.clone(),
            scratch: self.scratch_room(),
            disk: Disk {
                needed: output_bytes,
                free: free_disk(&crate::plan::nearest_folder(&self.output)).ok(),
            },
        }
    }

    /// What is known of the data before anything is drawn.
    pub(super) fn facts(&self) -> Option<CalibrationFacts> {
        self.set.as_ref().map(|set| set.clone().mixed(Vec::new()).1)
    }

    /// The files of the artifact except its report, with their sizes.
    pub(super) fn files(&self) -> BTreeMap<String, u64> {
        let shards = self.layout.shards.iter().map(|shard| (shard.name.clone(), shard.bytes));
        let config = ("config.json".to_owned(), self.config.len() as u64);
        let index = self.layout.index(self.variant.source());
        let index = index.map(|index| (Layout::INDEX.to_owned(), index.len() as u64));
        let side = self.variant.source().side_files().iter();
        let side = side.map(|side| (side.name.clone(), side.bytes));
        shards.chain([config]).chain(index).chain(side).collect()
    }

    fn scratch_room(&self) -> Disk {
        let needed = if self.memory.spills { self.memory.hidden_bytes } else { 0 };
        Disk { needed, free: free_disk(&self.scratch).ok() }
    }
}

impl Target {
    /// The units that stay, as slices take them.
    pub(super) fn kept<'a>(&self, units: &'a [usize]) -> Kept<'a> {
        match self.axis {
            Axis::Ffn => Kept { channels: Some(units), groups: None },
            Axis::Heads => Kept { channels: None, groups: Some(units) },
            Axis::Layers => Kept::default(),
        }
    }
}

/// Every place that loses units for `shape`.
fn targets(model: &Model, recipe: &PruneRecipe, shape: &Shape) -> Result<Vec<Target>, Error> {
    let mut targets = Vec::new();
    for &axis in &recipe.axes {
        let biases = fitted_biases(model, recipe, axis, shape)?;
        for coupling in model.couplings(axis) {
            let keep = match axis {
                Axis::Heads => shape.groups,
                _ => shape.widths.get(coupling.size).copied().unwrap_or(coupling.units),
            };
            if keep == coupling.units {
                continue;
            }
            let reader = coupling.reader().map(|part| part.tensor.clone());
            let sizes = reader.as_ref().and_then(|reader| Some(model.get(reader)?.meta.shape()));
            let (Some(reader), Some(&[rows, columns])) = (reader, sizes) else {
                return Err(Error::Refused(format!(
                    "axis `{axis}`: no matrix of layer {} reads it",
                    coupling.layer
                )));
            };
            let bias = biases.get(&coupling.layer).cloned();
            targets.push(Target { axis, coupling, keep, reader, rows, columns, bias });
        }
    }
    Ok(targets)
}

/// By layer, the bias that is fitted.
fn fitted_biases(
    model: &Model,
    recipe: &PruneRecipe,
    axis: Axis,
    shape: &Shape,
) -> Result<BTreeMap<usize, String>, Error> {
    if !recipe.bias {
        return Ok(BTreeMap::new());
    }
    let family = model.family().map_or("this model", |family| family.name());
    if model.bias_switch(axis).is_none() {
        return Err(Error::RefusedWithHint {
            what: format!("`--bias`: `{family}` has no place for a bias behind axis `{axis}`"),
            hint: "leave it out: the refit is by weights alone then".to_owned(),
        });
    }
    let biases = model.biases(axis, shape).into_iter().filter(|bias| bias.is_reader);
    Ok(biases.map(|bias| (bias.layer, bias.tensor)).collect())
}

/// The new config and, for people, what changed.
fn config(
    variant: &Variant,
    recipe: &PruneRecipe,
    shape: &Shape,
) -> Result<(Vec<u8>, Vec<String>), Error> {
    let mut map = variant.source().config().map(Config::as_map).cloned().unwrap_or_default();
    let mut changes = Vec::new();
    for edit in variant.model().edits(shape).map_err(refused)? {
        edit.apply(&mut map);
        changes.push(match &edit.value {
            Some(value) => format!("`{}` set to {value}", edit.key),
            None => format!("`{}` removed", edit.key),
        });
    }
    for &axis in recipe.axes.iter().filter(|_| recipe.bias) {
        if let Some(switch) = variant.model().bias_switch(axis).filter(|switch| !switch.is_on) {
            let edit = Edit { key: switch.key.to_owned(), value: Some(true.into()) };
            edit.apply(&mut map);
            changes.push(format!("`{}` set to true", switch.key));
        }
    }
    let bytes = serde_json::to_vec(&map).map_err(|error| Error::Refused(error.to_string()))?;
    let config = Config::parse(&bytes).map_err(|error| Error::Refused(error.to_string()))?;
    Ok((config.to_bytes(), changes))
}

/// Enough windows for the refit.
fn data(
    recipe: &PruneRecipe,
    variant: &Variant,
    targets: &[Target],
) -> Result<CalibrationSet, Error> {
    let set = CalibrationSet::read(&recipe.calibrate.data, variant)?;
    let there = set.windows() * set.window();
    let dense = targets.iter().filter(|target| target.coupling.expert.is_none());
    let needed = dense.map(|target| target.columns).max().unwrap_or(0);
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

/// The input's name with the sparsity appended, beside the input.
fn default_path(source: &Source, sparsity: f64) -> PathBuf {
    let input = source.path();
    let absolute = std::path::absolute(input).unwrap_or_else(|_| input.to_owned());
    let folder = if source.is_folder() { absolute } else { absolute.with_extension("") };
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    folder.with_file_name(format!("{name}-p{:02.0}", sparsity * 100.0))
}
