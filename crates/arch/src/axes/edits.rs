//! What a config says of a model of another shape.

use super::data::{GROUPS, HEADS, Layers};
use super::facts::LAYERS;
use super::{Axis, AxisError, Shape};
use crate::config::ConfigView;
use crate::resolve::script::{Sliding, Start};
use crate::sizes::Sizes;
use crate::{BindError, Family, Model};
use serde_json::{Map, Value};

/// A value of the config that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The key, with dots: `text_config.num_hidden_layers`.
    pub key: String,
    /// What stands there; `None` removes the key.
    pub value: Option<Value>,
}

impl Model {
    /// What must change in the config for a model of `shape`, in the place where the config has it.
    /// Fails by name if the family's loaders would not accept the shape.
    pub fn edits(&self, shape: &Shape) -> Result<Vec<Edit>, AxisError> {
        let (family, sizes) = self.known(Axis::Layers)?;
        let editor = Editor { model: self, family, sizes, shape, config: ConfigView(&self.config) };
        let mut edits = Vec::new();
        for axis in self.narrowed(shape)? {
            match axis {
                Axis::Ffn => edits.extend(shape.widths.keys().filter_map(|size| editor.size(size))),
                // The width of a head does not follow from their number any more.
                Axis::Heads => {
                    let sizes = [HEADS, GROUPS, HEAD_WIDTH];
                    edits.extend(sizes.iter().filter_map(|size| editor.size(size)));
                }
                Axis::Layers => {
                    let layers = editor.layers();
                    edits.extend(layers.map_err(|source| AxisError::Program { axis, source })?);
                }
            }
        }
        Ok(edits)
    }
}

impl Edit {
    /// Makes the change. Objects on the way that are missing are made, too.
    pub fn apply(&self, config: &mut Map<String, Value>) {
        let mut object = config;
        let mut key = self.key.as_str();
        while let Some((first, rest)) = key.split_once('.') {
            let entry = object.entry(first).or_insert(Value::Null);
            // Anything else was read as if it were absent.
            if !entry.is_object() {
                *entry = Value::Object(Map::new());
            }
            let Value::Object(inner) = entry else { return };
            (object, key) = (inner, rest);
        }
        match &self.value {
            Some(value) => drop(object.insert(key.to_owned(), value.clone())),
            None => drop(object.shift_remove(key)),
        }
    }

    fn set(key: &str, value: impl Into<Value>) -> Self {
        Self { key: key.to_owned(), value: Some(value.into()) }
    }
}

struct Editor<'a> {
    model: &'a Model,
    family: &'static Family,
    sizes: &'a Sizes,
    shape: &'a Shape,
    config: ConfigView<'a>,
}

impl Editor<'_> {
    /// The value of a dimension, at the key that gives it.
    fn size(&self, size: &str) -> Option<Edit> {
        Some(Edit::set(self.sizes.key(size), self.shape.size(size, self.sizes)?))
    }

    /// The number of layers, and every key that speaks of layers by their numbers.
    fn layers(&self) -> Result<Vec<Edit>, BindError> {
        let mut edits: Vec<Edit> = self.size(LAYERS).into_iter().collect();
        if let Some(layers) = &self.family.axes.layers {
            edits.extend(layers.lists.iter().filter_map(|key| self.selected(key)));
            if let Some(sliding) = &self.family.program.sliding {
                edits.extend(self.sliding(sliding, layers)?);
            }
        }
        if let Some(sparse) = &self.family.sparse
            && self.config.get(&sparse.dense).is_some()
        {
            edits.push(self.renumbered(&sparse.dense)?);
        }
        Ok(edits)
    }

    /// The entries of a list that belong to layers that stay.
    fn selected(&self, key: &str) -> Option<Edit> {
        let list = self.config.get(key)?.as_array()?;
        let entries = self.shape.layers.iter().filter_map(|&layer| list.get(layer).cloned());
        Some(Edit::set(key, entries.collect::<Vec<Value>>()))
    }

    /// A list of layers' numbers, those of layers that stay.
    fn renumbered(&self, key: &str) -> Result<Edit, BindError> {
        let listed = self.config.indices(key)?;
        let layers = self.shape.layers.iter().enumerate();
        let kept = layers.filter(|(_, layer)| listed.contains(&(**layer as u64)));
        Ok(Edit::set(key, kept.map(|(number, _)| Value::from(number)).collect::<Vec<_>>()))
    }

    /// What tells the layers with a window from the rest.
    fn sliding(&self, sliding: &Sliding, layers: &Layers) -> Result<Vec<Edit>, BindError> {
        let mut edits = Vec::new();
        if let Some(start) = &sliding.start {
            edits.extend(self.start(start)?);
        }
        let Some(period) = &sliding.period else { return Ok(edits) };
        let is_sliding = self.is_sliding(sliding)?;
        let listed = sliding.types.as_deref().filter(|types| self.config.get(types).is_none());
        edits.extend(listed.map(|types| Edit::set(types, types_of(&is_sliding))));
        let period = period.read(self.config)?;
        let follows = |(layer, is_sliding): (usize, &bool)| {
            period.is_some_and(|period| *is_sliding != (layer + 1).is_multiple_of(period))
        };
        if !is_sliding.iter().enumerate().all(follows) {
            let given = layers.periods.iter().filter(|key| self.config.get(key).is_some());
            edits.extend(given.map(|key| Edit { key: key.clone(), value: None }));
        }
        Ok(edits)
    }

    /// Of the layers that stay, whether each has a window.
    fn is_sliding(&self, sliding: &Sliding) -> Result<Vec<bool>, BindError> {
        let (layers, family) = (self.model.layers, self.family.name());
        let windows = crate::resolve::sliding::windows(Some(sliding), layers, self.config, family)?;
        let is_sliding = |layer: &usize| windows.get(*layer).is_some_and(Option::is_some);
        Ok(self.shape.layers.iter().map(is_sliding).collect())
    }

    /// The number of layers before the first that may have a window. Without the key, a default that
    /// no layer reaches will not be reached by fewer.
    fn start(&self, start: &Start) -> Result<Option<Edit>, BindError> {
        let given = self.config.whole(&start.key)?;
        let first = given.unwrap_or(start.default);
        if given.is_none() && first >= self.model.layers {
            return Ok(None);
        }
        let before = self.shape.layers.iter().filter(|&&layer| layer < first);
        Ok(Some(Edit::set(&start.key, before.count())))
    }
}

fn types_of(is_sliding: &[bool]) -> Vec<&'static str> {
    let name = |&is_sliding: &bool| if is_sliding { SLIDING } else { FULL };
    is_sliding.iter().map(name).collect()
}

/// The dimension of a head's width.
const HEAD_WIDTH: &str = "head_dim";
const SLIDING: &str = "sliding_attention";
const FULL: &str = "full_attention";
