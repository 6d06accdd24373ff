//! Which tensors share the units of an axis.

use super::Axis;
use super::span::Span;
use crate::{BoundTensor, Model};
use std::collections::BTreeMap;
use std::ops::Range;

/// Units of one axis in one place, an MLP or an attention, and everything that ranges over them: to
/// remove a unit is to remove its places from every part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coupling {
    /// The layer.
    pub layer: usize,
    /// The expert, where the units are one's own.
    pub expert: Option<usize>,
    /// The dimension that counts the units, as the family's file calls it: `inter`, `kv_heads`.
    pub size: &'static str,
    /// How many there are.
    pub units: usize,
    /// The dimensions that range over them, by tensor.
    pub parts: Vec<Part>,
}

/// A dimension of a tensor that ranges over units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The tensor.
    pub tensor: String,
    /// Its dimension: 0 for rows, 1 for columns.
    pub dimension: usize,
    /// Elements at one place of the dimension: for rows the number of columns.
    pub across: u64,
    /// Where spans of units begin, and what they are.
    spans: Vec<(usize, Span)>,
}

impl Model {
    /// Every set of units of an axis, in the order of layers and experts. Layers share no tensor, so
    /// there is nothing coupled in that axis.
    pub fn couplings(&self, axis: Axis) -> Vec<Coupling> {
        let mut couplings = BTreeMap::new();
        for tensor in &self.tensors {
            let Some(layer) = tensor.layer else { continue };
            for (dimension, spans) in self.spans(tensor).into_iter().flatten().enumerate() {
                let Some(part) = Part::new(tensor, dimension, &spans, axis) else { continue };
                let (units, size) = (part.spans[0].1.units, part.spans[0].1.size);
                let expert = tensor.expert;
                let coupling = couplings.entry((layer, expert)).or_insert_with(|| Coupling {
                    layer,
                    expert,
                    size,
                    units,
                    parts: Vec::new(),
                });
                coupling.parts.push(part);
            }
        }
        couplings.into_values().collect()
    }

    /// The spans of each dimension of a tensor; `None` if the family does not know the tensor, or its
    /// units do not lie together.
    pub(super) fn spans(&self, tensor: &BoundTensor) -> Option<Vec<Vec<Span>>> {
        let (family, sizes) = (self.family?, self.sizes.as_ref()?);
        let template = self.templates.get(&tensor.name)?;
        template.shape.iter().map(|dimension| Span::all(dimension, family, sizes)).collect()
    }
}

impl Coupling {
    /// The part that reads the units: the columns of the matrix that they are multiplied with.
    pub fn reader(&self) -> Option<&Part> {
        self.parts.iter().find(|part| part.dimension == 1)
    }

    /// Elements that go with one unit.
    pub fn parameters(&self) -> u64 {
        let of_part = |part: &Part| {
            let places = part.places(0).iter().map(|places| places.len() as u64).sum::<u64>();
            places.saturating_mul(part.across)
        };
        self.parts.iter().map(of_part).fold(0, u64::saturating_add)
    }
}

impl Part {
    fn new(tensor: &BoundTensor, dimension: usize, spans: &[Span], axis: Axis) -> Option<Self> {
        let mut start = 0;
        let mut ours = Vec::new();
        for span in spans {
            if span.axis == Some(axis) {
                ours.push((start, span.clone()));
            }
            start += span.length();
        }
        let others = tensor.meta.shape().iter().enumerate().filter(|(at, _)| *at != dimension);
        let across = others.map(|(_, &length)| length as u64).product();
        let part = Self { tensor: tensor.name.clone(), dimension, across, spans: ours };
        (!part.spans.is_empty()).then_some(part)
    }

    /// The places of a unit in the dimension: one range, or one for each matrix that is fused in the
    /// tensor.
    pub fn places(&self, unit: usize) -> Vec<Range<usize>> {
        let of_span = |(start, span): &(usize, Span)| {
            let (start, span) = (*start, span.clone());
            (0..span.copies).map(move |copy| span.place(start, copy, unit))
        };
        self.spans.iter().flat_map(of_span).collect()
    }
}
