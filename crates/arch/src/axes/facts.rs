//! What there is to remove along an axis, or why nothing can be.

use super::data::GROUPS;
use super::span::heads_per_group;
use super::{Axis, AxisError};
use crate::config::ConfigView;
use crate::sizes::Sizes;
use crate::{Family, Model};

/// An axis along which a model can be pruned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxisFacts {
    /// The axis.
    pub axis: Axis,
    /// What is counted: one entry, but for families whose experts are not as wide as their dense MLPs.
    pub units: Vec<Units>,
}

/// Units of an axis that are counted by one key of the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// The dimension, as the family's file calls it: `inter`, `expert_inter`, `kv_heads`, `layers`.
    pub size: &'static str,
    /// The config key that gives the number.
    pub key: &'static str,
    /// How many there are in each place.
    pub count: usize,
    /// How many places have so many: MLPs, experts, attentions; one for layers.
    pub places: usize,
    /// Elements that go with one unit in one place. Of layers that differ, the mean, rounded down.
    pub parameters: u64,
    divides: Option<Divides>,
}

/// A size that must be a multiple of the query heads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Divides {
    key: &'static str,
    size: usize,
    heads_per_group: usize,
}

impl Model {
    /// What can be removed along an axis; an error says by name what forbids it. A model without a
    /// forward pass has no axes, as nothing vouches for what its config says.
    pub fn prunable(&self, axis: Axis) -> Result<AxisFacts, AxisError> {
        let (family, sizes) = self.known(axis)?;
        if !family.axes.has(axis) {
            return Err(AxisError::Lacks { axis, family: family.name() });
        }
        self.check_axis(axis, family)?;
        let units = self.units(axis, family, sizes);
        let smaller = |units: &Units| units.counts().any(|count| count < units.count);
        match units.first() {
            None => Err(AxisError::Lacks { axis, family: family.name() }),
            Some(&Units { key, count, .. }) if !units.iter().any(smaller) => {
                Err(AxisError::Smallest { axis, family: family.name(), key, count })
            }
            Some(_) => Ok(AxisFacts { axis, units }),
        }
    }

    /// The family and its sizes.
    pub(super) fn known(&self, axis: Axis) -> Result<(&'static Family, &Sizes), AxisError> {
        self.family.zip(self.sizes.as_ref()).ok_or_else(|| {
            let named = ConfigView(&self.config).text("model_type").ok().flatten();
            let family = named.unwrap_or("a checkpoint without a known family").to_owned();
            AxisError::Unknown { axis, family }
        })
    }

    fn units(&self, axis: Axis, family: &'static Family, sizes: &Sizes) -> Vec<Units> {
        if axis == Axis::Layers {
            return vec![self.layer_units(sizes)];
        }
        let mut found: Vec<Units> = Vec::new();
        for coupling in self.couplings(axis) {
            match found.iter_mut().find(|units| units.size == coupling.size) {
                Some(units) => units.places += 1,
                None => found.push(Units {
                    size: coupling.size,
                    key: sizes.key(coupling.size),
                    count: coupling.units,
                    places: 1,
                    parameters: coupling.parameters(),
                    divides: divides(coupling.size, family, sizes),
                }),
            }
        }
        found
    }

    fn layer_units(&self, sizes: &Sizes) -> Units {
        let mean = self.block_parameters().checked_div(self.layers as u64);
        Units {
            size: LAYERS,
            key: sizes.key(LAYERS),
            count: self.layers,
            places: 1,
            parameters: mean.unwrap_or_default(),
            divides: None,
        }
    }
}

impl Units {
    /// Whether loaders accept so many. What is there they accept.
    pub fn accepts(&self, count: usize) -> bool {
        let divides = |divides: &Divides| match count.checked_mul(divides.heads_per_group) {
            Some(heads) => divides.size.is_multiple_of(heads),
            None => false,
        };
        count == self.count
            || (1..self.count).contains(&count) && self.divides.as_ref().is_none_or(divides)
    }

    /// The numbers that loaders accept, ascending.
    pub fn counts(&self) -> impl Iterator<Item = usize> {
        (1..=self.count).filter(|&count| self.accepts(count))
    }

    /// Fails if loaders do not accept so many.
    pub(super) fn check(&self, wanted: usize) -> Result<(), AxisError> {
        if self.accepts(wanted) {
            return Ok(());
        }
        let of_heads = |divides: &Divides| {
            let Divides { key, size, heads_per_group } = divides;
            format!(", where the query heads, {heads_per_group} for each, divide `{key}`, {size}")
        };
        let heads = self.divides.as_ref().map(of_heads).unwrap_or_default();
        let expected = format!("1 to {}{heads}", self.count);
        Err(AxisError::Count { key: self.key, wanted, expected })
    }
}

fn divides(size: &str, family: &'static Family, sizes: &Sizes) -> Option<Divides> {
    let divide = family.axes.heads.as_ref()?.divide.as_ref().filter(|_| size == GROUPS)?;
    let heads_per_group = heads_per_group(sizes)?;
    Some(Divides { key: sizes.key(divide), size: sizes.find(divide)?, heads_per_group })
}

/// The dimension of layers.
pub(super) const LAYERS: &str = "layers";
