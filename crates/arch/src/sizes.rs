//! The sizes that a family's shapes are written in, read from a config.

use crate::config::ConfigView;
use crate::expression::Expression;
use crate::{BindError, Family};

/// Every dimension of a family with its value, none of them zero.
#[derive(Debug)]
pub(crate) struct Sizes(Vec<Size>);

#[derive(Debug)]
struct Size {
    name: &'static str,
    value: usize,
    /// The config key that gives it, or would.
    key: &'static str,
    given: bool,
}

impl Sizes {
    pub(crate) fn read(family: &'static Family, config: ConfigView<'_>) -> Result<Self, BindError> {
        let mut sizes = Self(Vec::with_capacity(family.dims.len()));
        for dimension in &family.dims {
            let mut found = None;
            for key in &dimension.keys {
                found = found.or(config.size(key)?.map(|value| (key, value)));
            }
            let default = || {
                let value = sizes.value(dimension.default.as_ref()?).filter(|&value| value > 0)?;
                Some(Size { name: &dimension.name, value, key: &dimension.keys[0], given: false })
            };
            let size = match found {
                Some((key, value)) => Size { name: &dimension.name, value, key, given: true },
                None => default().ok_or_else(|| BindError::ConfigMissing {
                    key: dimension.keys[0].clone(),
                    family: family.name(),
                })?,
            };
            sizes.0.push(size);
        }
        Ok(sizes)
    }

    /// The value of one dimension; 0 if the family has none of that name.
    pub(crate) fn get(&self, name: &str) -> usize {
        self.find(name).unwrap_or(0)
    }

    /// The value of one dimension, if the family has it.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.size(name).map(|size| size.value)
    }

    pub(crate) fn value(&self, expression: &Expression) -> Option<usize> {
        expression.evaluate(|name| self.find(name))
    }

    /// The config key of one dimension.
    pub(crate) fn key(&self, name: &str) -> &'static str {
        self.size(name).map_or("", |size| size.key)
    }

    /// The config keys behind some dimensions, with their values.
    pub(crate) fn described(&self, names: &[&str]) -> Option<String> {
        let sizes = names.iter().filter_map(|name| self.size(name));
        let (given, assumed): (Vec<_>, Vec<_>) = sizes.partition(|size| size.given);
        let mut parts: Vec<String> = Vec::new();
        for Size { key, value, .. } in given {
            let place = if parts.is_empty() { " in `config.json`" } else { "" };
            parts.push(format!("`{key}`{place} is {value}"));
        }
        for Size { key, value, .. } in assumed {
            parts.push(format!("`{key}` is not in `config.json` and taken as {value}"));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    fn size(&self, name: &str) -> Option<&Size> {
        self.0.iter().find(|size| size.name == name)
    }
}
