//! What is left of a model along every axis, and how many parameters that is.

use super::data::{GROUPS, HEADS};
use super::facts::LAYERS;
use super::{Axis, AxisError, Units};
use crate::sizes::Sizes;
use crate::{BoundTensor, Model};
use std::collections::BTreeMap;

/// How large a model is along its axes. Sizes hold for every layer: no runtime loads others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The layers that are kept, by their numbers in the model, ascending.
    pub layers: Vec<usize>,
    /// Channels that are kept in each MLP, by the dimension that counts them: `inter`, and
    /// `expert_inter` where experts have a width of their own.
    pub widths: BTreeMap<&'static str, usize>,
    /// Key-value groups that are kept in each attention.
    pub groups: usize,
}

impl Model {
    /// The shape as it is.
    pub fn shape(&self) -> Result<Shape, AxisError> {
        let (_, sizes) = self.known(Axis::Layers)?;
        let widths = self.couplings(Axis::Ffn).into_iter();
        Ok(Shape {
            layers: (0..self.layers).collect(),
            widths: widths.map(|coupling| (coupling.size, coupling.units)).collect(),
            groups: sizes.get(GROUPS),
        })
    }

    /// The axes along which `shape` is smaller than the model. Fails by name if the family's loaders
    /// would not accept it.
    pub fn narrowed(&self, shape: &Shape) -> Result<Vec<Axis>, AxisError> {
        let whole = self.shape()?;
        let mut axes = Vec::new();
        if shape.widths != whole.widths {
            let units = self.prunable(Axis::Ffn)?.units;
            shape.widths.iter().try_for_each(|(size, &width)| check_width(&units, size, width))?;
            axes.push(Axis::Ffn);
        }
        if shape.groups != whole.groups {
            let units = self.prunable(Axis::Heads)?.units;
            units.iter().try_for_each(|units| units.check(shape.groups))?;
            axes.push(Axis::Heads);
        }
        if shape.layers != whole.layers {
            self.prunable(Axis::Layers)?;
            self.check_layers(&shape.layers)?;
            axes.push(Axis::Layers);
        }
        Ok(axes)
    }

    /// Parameters of all blocks: everything in layers that the family names, norms and biases too.
    pub fn block_parameters(&self) -> u64 {
        let tensors = self.block_tensors();
        tensors.map(|(_, tensor)| tensor.meta.elements()).fold(0, u64::saturating_add)
    }

    /// Parameters of one block.
    pub fn layer_parameters(&self, layer: usize) -> u64 {
        let tensors = self.block_tensors().filter(|&(number, _)| number == layer);
        tensors.map(|(_, tensor)| tensor.meta.elements()).fold(0, u64::saturating_add)
    }

    /// Parameters of the blocks that `shape` leaves.
    pub fn parameters_left(&self, shape: &Shape) -> u64 {
        let is_left = |layer: &usize| shape.layers.contains(layer);
        let elements = |tensor: &BoundTensor| {
            let lengths = self.left(&tensor.name, shape).unwrap_or_default();
            lengths.iter().map(|&length| length as u64).fold(1, u64::saturating_mul)
        };
        let tensors = self.block_tensors().filter(|(layer, _)| is_left(layer));
        tensors.map(|(_, tensor)| elements(tensor)).fold(0, u64::saturating_add)
    }

    /// The share of the blocks' parameters that `shape` removes.
    pub fn sparsity(&self, shape: &Shape) -> f64 {
        let (left, all) = (self.parameters_left(shape), self.block_parameters());
        if all == 0 { 0.0 } else { 1.0 - left as f64 / all as f64 }
    }

    /// The shape of a tensor in a model of `shape`; `None` if the family does not know the tensor.
    fn left(&self, tensor: &str, shape: &Shape) -> Option<Vec<usize>> {
        let sizes = self.sizes.as_ref()?;
        let template = self.templates.get(tensor)?;
        let length = |name: &str| shape.size(name, sizes);
        template.shape.iter().map(|dimension| dimension.evaluate(length)).collect()
    }

    /// The tensors of blocks that the family names, each with its layer.
    fn block_tensors(&self) -> impl Iterator<Item = (usize, &BoundTensor)> {
        let known = self.tensors.iter().filter(|tensor| self.templates.contains_key(&tensor.name));
        known.filter_map(|tensor| Some((tensor.layer?, tensor)))
    }

    fn check_layers(&self, kept: &[usize]) -> Result<(), AxisError> {
        let is_ascending = kept.is_sorted_by(|a, b| a < b);
        match kept.last() {
            Some(&last) if is_ascending && last < self.layers => Ok(()),
            _ => Err(AxisError::Layers { found: kept.to_vec(), layers: self.layers }),
        }
    }
}

impl Shape {
    /// A dimension of the family's file in a model of this shape.
    pub(super) fn size(&self, name: &str, sizes: &Sizes) -> Option<usize> {
        let whole = sizes.find(name)?;
        match name {
            LAYERS => Some(self.layers.len()),
            GROUPS => Some(self.groups),
            HEADS => whole.checked_div(sizes.find(GROUPS)?)?.checked_mul(self.groups),
            _ => Some(self.widths.get(name).copied().unwrap_or(whole)),
        }
    }
}

fn check_width(units: &[Units], size: &'static str, width: usize) -> Result<(), AxisError> {
    match units.iter().find(|units| units.size == size) {
        Some(units) => units.check(width),
        None => {
            let known: Vec<String> =
                units.iter().map(|units| format!("`{}`", units.size)).collect();
            let expected = format!("a width for {}", known.join(" or "));
            Err(AxisError::Count { key: size, wanted: width, expected })
        }
    }
}
