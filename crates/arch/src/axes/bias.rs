//! Where a family can hold a bias behind the matrix that reads an axis.

use super::{Axis, Shape};
use crate::config::ConfigView;
use crate::family::{Naming, Template};
use crate::{Family, Model};

/// The config key of a bias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BiasSwitch {
    /// The key, with dots; true switches it on.
    pub key: &'static str,
    /// Whether the config has it on.
    pub is_on: bool,
}

/// A bias that loaders look for once the key is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bias {
    /// The tensor, by its name in the model as it is.
    pub tensor: String,
    /// Its layer there.
    pub layer: usize,
    /// Its length in a model of the shape asked for.
    pub length: usize,
    /// Whether the matrix before it reads the axis. All others are zeros.
    pub is_reader: bool,
}

impl Model {
    /// The key that gives a bias to the matrix that reads `axis`, in families whose loaders all know
    /// one.
    pub fn bias_switch(&self, axis: Axis) -> Option<BiasSwitch> {
        let key = self.family?.axes.bias_of(axis)?;
        let is_on = ConfigView(&self.config).flag(key).ok()?.unwrap_or(false);
        Some(BiasSwitch { key, is_on })
    }

    /// Every bias of the layers that stay in `shape` that goes with the key of [`Self::bias_switch`],
    /// by layer. Tensors of these names may be there while the key is off; loaders skip them.
    pub fn biases(&self, axis: Axis, shape: &Shape) -> Vec<Bias> {
        let (Some(family), Some(naming)) = (self.family, self.naming) else { return Vec::new() };
        let Some(key) = family.axes.bias_of(axis) else { return Vec::new() };
        let is_switched = |template: &&Template| template.required_if.as_deref() == Some(key);
        let templates: Vec<&Template> = family.block.tensors.iter().filter(is_switched).collect();
        let of_layer = |&layer: &usize| {
            let templates = templates.iter();
            templates.filter_map(move |template| {
                let length = self.length(template, shape)?;
                let tensor = name_in(family, naming, layer, template);
                Some(Bias { tensor, layer, length, is_reader: is_reader(family, template, axis) })
            })
        };
        shape.layers.iter().flat_map(of_layer).collect()
    }

    fn length(&self, template: &Template, shape: &Shape) -> Option<usize> {
        let sizes = self.sizes.as_ref()?;
        template.shape.first()?.evaluate(|name| shape.size(name, sizes))
    }
}

fn name_in(family: &Family, naming: &Naming, layer: usize, template: &Template) -> String {
    let path = family.block.path.replace("{layer}", &layer.to_string());
    naming.apply(&format!("{path}{}", template.name))
}

/// Whether the bias belongs to a matrix whose columns range over the axis.
fn is_reader(family: &Family, bias: &Template, axis: Axis) -> bool {
    let weight = bias.name.strip_suffix(".bias").map(|module| format!("{module}.weight"));
    let matrix =
        family.block.tensors.iter().find(|template| Some(&template.name) == weight.as_ref());
    let columns = matrix.and_then(|matrix| matrix.shape.get(1));
    let names = columns.map(|columns| columns.names()).unwrap_or_default();
    names.iter().any(|name| family.axes.of_size(name) == Some(axis))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of the data switches on exactly one bias of a matrix that reads the axis, and is known to
    /// the family's forward pass.
    #[test]
    fn every_key_switches_on_the_bias_of_one_reader() {
        for family in Family::all() {
            for axis in Axis::ALL {
                let Some(key) = family.axes.bias_of(axis) else { continue };
                let templates = family.block.tensors.iter();
                let switched = templates.filter(|t| t.required_if.as_deref() == Some(key));
                let readers = switched.filter(|template| is_reader(family, template, axis));
                assert_eq!(readers.count(), 1, "{} {axis}", family.name());
            }
        }
    }
}
