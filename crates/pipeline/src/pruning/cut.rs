//! What follows from a shape: which tensors are cut, what the files hold, what the config says.

use crate::pruning::find_gated::gated_units;
use crate::pruning::group::PruneGroup;
use crate::pruning::layout::{laid_out, new_biases};
use crate::pruning::recipe::PruneRecipe;
use crate::pruning::shape::refused;
use llmopt_arch::Model;
use llmopt_arch::axes::{Axis, Coupling, Edit, Shape};
use llmopt_checkpoint::Config;
use llmopt_model::Variant;
use llmopt_rewrite::ArtifactPlan;
use llmopt_run::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A model cut to a shape, before anything is chosen but which layers go.
pub(super) struct Cut {
    pub(super) shape: Shape,
    /// Every group that changes, in the order of axes, layers and experts.
    pub(super) groups: Vec<PruneGroup>,
    pub(super) artifact: ArtifactPlan,
    /// The new `config.json`.
    pub(super) config: Vec<u8>,
    /// What changes in it, for people.
    pub(super) config_changes: Vec<String>,
    /// Layers of the source.
    layers: usize,
}

impl Cut {
    /// Cuts `variant` to `shape`.
    ///
    /// # Errors
    /// A refusal if the family's loaders would not accept it.
    pub(super) fn new(
        variant: &Variant,
        recipe: &PruneRecipe,
        shape: Shape,
    ) -> Result<Self, Error> {
        let (source, model) = (variant.source(), variant.model());
        let mut groups = groups(model, recipe, &shape)?;
        let layers = variant.program().blocks.len();
        stand_in(&mut groups, variant, recipe, &shape);
        if recipe.refit && recipe.refine > 0 {
            find_gated(&mut groups, variant);
        }
        let biases = match recipe.bias {
            true => new_biases(model, &groups, &shape)?,
            false => Vec::new(),
        };
        let artifact = laid_out(source, model, &groups, recipe.refit, &biases, &shape.layers)?;
        let cut: BTreeSet<Axis> = cut_axes(&groups).collect();
        let (config, config_changes) = config(variant, recipe.bias, &cut, &shape)?;
        Ok(Self { shape, groups, artifact, config, config_changes, layers })
    }

    /// Whether there is to be an index: where there are several files, or the source had one.
    pub(super) fn has_index(&self) -> bool {
        self.artifact.source.index().is_some() || self.artifact.shards.len() > 1
    }

    /// For each layer that stays, itself and those behind it that go.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let ends = self.shape.layers.iter().skip(1).copied().chain([self.layers]);
        self.shape.layers.iter().zip(ends).map(|(&layer, end)| layer..end)
    }

    /// The groups that could change, whichever layers go.
    pub(super) fn worst(&self, variant: &Variant, recipe: &PruneRecipe) -> Vec<PruneGroup> {
        let mut groups = self.groups.clone();
        if recipe.refit && recipe.axes.contains(&Axis::Layers) {
            let couplings = variant.model().couplings(Axis::Ffn).into_iter();
            let alone = couplings.filter(|coupling| coupling.expert.is_none());
            let whole = alone
                .filter_map(|coupling| PruneGroup::whole(variant.model(), Axis::Layers, coupling));
            let is_new = |group: &PruneGroup| self.groups.iter().all(|t| t.reader != group.reader);
            let mut whole: Vec<PruneGroup> = whole.filter(is_new).collect();
            if recipe.refine > 0 {
                find_gated(&mut whole, variant);
            }
            groups.extend(whole);
        }
        groups
    }

    /// The axes that lose something.
    pub(super) fn axes(&self) -> Vec<&'static str> {
        let layers = (!self.gone().is_empty()).then_some(Axis::Layers);
        let axes: BTreeSet<Axis> = cut_axes(&self.groups).chain(layers).collect();
        axes.into_iter().map(Axis::name).collect()
    }

    /// The layers that go.
    pub(super) fn gone(&self) -> Vec<usize> {
        self.runs().flat_map(|layers| layers.skip(1)).collect()
    }
}

/// The axes along which units go.
fn cut_axes(groups: &[PruneGroup]) -> impl Iterator<Item = Axis> {
    groups.iter().filter(|group| !group.is_whole()).map(|group| group.axis)
}

/// Has the matrix that ends a layer stand in for the layers behind it that go (ReplaceMe, 2505.02819),
/// where what it gives is added to the hidden state as it is.
fn stand_in(groups: &mut Vec<PruneGroup>, variant: &Variant, recipe: &PruneRecipe, shape: &Shape) {
    let blocks = &variant.program().blocks;
    for (place, &layer) in shape.layers.iter().enumerate() {
        let next = shape.layers.get(place + 1).copied().unwrap_or(blocks.len());
        let last = blocks[layer].phases.last().filter(|_| recipe.refit && next > layer + 1);
        let Some(last) = last else { continue };
        let ends =
            |group: &PruneGroup| group.units_in(last).is_some() && group.adds_to_hidden(last);
        let stands_for: Vec<usize> = (layer + 1..next).collect();
        match groups.iter_mut().find(|group| ends(group)) {
            Some(group) => group.stands_for = stands_for,
            None => {
                let couplings = variant.model().couplings(Axis::Ffn).into_iter();
                let mut whole =
                    couplings.filter(|coupling| coupling.layer == layer).filter_map(|coupling| {
                        PruneGroup::whole(variant.model(), Axis::Layers, coupling)
                    });
                if let Some(group) = whole.find(ends) {
                    groups.push(PruneGroup { stands_for, ..group });
                }
            }
        }
    }
}

/// Finds what makes the units of each group.
fn find_gated(groups: &mut [PruneGroup], variant: &Variant) {
    let program = variant.program();
    for group in groups {
        let phases = program.blocks.get(group.coupling.layer).into_iter();
        let mut phases = phases.flat_map(|block| &block.phases);
        group.gated = phases.find_map(|phase| gated_units(phase, program, group));
    }
}

/// Every group that loses units for `shape`.
fn groups(model: &Model, recipe: &PruneRecipe, shape: &Shape) -> Result<Vec<PruneGroup>, Error> {
    let mut groups = Vec::new();
    let stays = |coupling: &Coupling| shape.layers.contains(&coupling.layer);
    for &axis in recipe.axes.iter().filter(|&&axis| axis != Axis::Layers) {
        let biases = fitted_biases(model, recipe, axis, shape)?;
        for coupling in model.couplings(axis).into_iter().filter(stays) {
            let keep = match axis {
                Axis::Heads => shape.groups,
                _ => shape.widths.get(coupling.size).copied().unwrap_or(coupling.units),
            };
            if keep == coupling.units {
                continue;
            }
            let layer = coupling.layer;
            let group = PruneGroup::whole(model, axis, coupling).ok_or_else(|| {
                Error::Refused(format!("axis `{axis}`: no matrix of layer {layer} reads it"))
            })?;
            groups.push(PruneGroup { keep, bias: biases.get(&layer).cloned(), ..group });
        }
    }
    Ok(groups)
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
    bias: bool,
    cut: &BTreeSet<Axis>,
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
    for &axis in cut.iter().filter(|_| bias) {
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
