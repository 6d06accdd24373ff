//! What there is to remove along an axis, or why nothing can be.

use super::data::GROUPS;
use super::span::heads_per_group;
use super::{Axis, AxisError};
use crate::config::ConfigView;
use crate::resolve::script::{Norm, Step};
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
        self.check_dense(axis)?;
        self.check_family(axis, family)?;
        self.program().map_err(|source| AxisError::Program { axis, source })?;
        self.check_spans(axis, family)?;
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

    fn check_dense(&self, axis: Axis) -> Result<(), AxisError> {
        const KEY: &str = "quantization_config";
        let key = ConfigView(&self.config).get(KEY).map(|_| format!("`{KEY}` in `config.json`"));
        let scale = || self.block_scales.values().next().map(|scale| format!("`{}`", scale.tensor));
        match key.or_else(scale) {
            Some(place) => Err(AxisError::Quantized { axis, place }),
            None => Ok(()),
        }
    }

    /// What the family's file says against it.
    fn check_family(&self, axis: Axis, family: &'static Family) -> Result<(), AxisError> {
        let refused = family.axes.heads.as_ref().and_then(|heads| heads.refused.as_ref());
        if let Some(reason) = refused.filter(|_| axis == Axis::Heads) {
            return Err(AxisError::Runtime { axis, family: family.name(), reason });
        }
        if let Some(norm) = norm_over(axis, family) {
            return Err(AxisError::Norm { axis, family: family.name(), norm });
        }
        match &family.sparse {
            Some(sparse) if axis == Axis::Layers => {
                let key = &sparse.step;
                let step = ConfigView(&self.config).size(key);
                match step.map_err(|source| AxisError::Program { axis, source })? {
                    None | Some(1) => Ok(()),
                    Some(step) => Err(AxisError::Step { family: family.name(), key, step }),
                }
            }
            _ => Ok(()),
        }
    }

    fn check_spans(&self, axis: Axis, family: &'static Family) -> Result<(), AxisError> {
        let is_template = |name: &str| self.templates.contains_key(name);
        let known = self.tensors.iter().filter(|tensor| is_template(&tensor.name));
        match known.filter(|_| axis != Axis::Layers).find(|tensor| self.spans(tensor).is_none()) {
            Some(tensor) => {
                let tensor = tensor.name.clone();
                Err(AxisError::Uncut { axis, family: family.name(), tensor })
            }
            None => Ok(()),
        }
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

/// The norm of a layer that takes all units of an axis together.
fn norm_over(axis: Axis, family: &'static Family) -> Option<&'static str> {
    let script = &family.program;
    let ranges = |tap: &str| {
        let names = script.taps.get(tap).map(|width| width.names()).unwrap_or_default();
        names.into_iter().any(|name| family.axes.of_size(name) == Some(axis))
    };
    let is_over = |step: &'static Step| match step {
        Step::Norm(Norm { norm, from, per: None, .. }) if ranges(from) => Some(norm.as_str()),
        _ => None,
    };
    script.block.iter().flat_map(|stage| &stage.steps).find_map(is_over)
}

fn divides(size: &str, family: &'static Family, sizes: &Sizes) -> Option<Divides> {
    let divide = family.axes.heads.as_ref()?.divide.as_ref().filter(|_| size == GROUPS)?;
    let heads_per_group = heads_per_group(sizes)?;
    Some(Divides { key: sizes.key(divide), size: sizes.find(divide)?, heads_per_group })
}

/// The dimension of layers.
pub(super) const LAYERS: &str = "layers";
