//! Values that follow from the config, as a family's file writes them.

use crate::BindError;
use crate::config::{ConfigView, shown};
use crate::expression::Expression;
use crate::program::Activation;
use crate::sizes::Sizes;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A number: that of the key, else the size, else the default; then brought into its form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Number {
    pub(crate) key: Option<String>,
    pub(crate) size: Option<Expression>,
    pub(crate) default: Option<f64>,
    #[serde(default, rename = "as")]
    form: Form,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    #[default]
    Itself,
    Root,
    InverseRoot,
    Inverse,
}

/// A whole number of at least one: that of the key, else the default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Count {
    pub(crate) key: Option<String>,
    pub(crate) default: Option<usize>,
}

/// A number above zero that may be absent: `null` says that it is, a missing key means the default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limit<T> {
    pub(crate) key: String,
    pub(crate) default: Option<T>,
}

/// The name of an activation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    key: String,
    default: String,
    /// Names that loaders of the family read as another, which its weights were trained with.
    #[serde(default)]
    read_as: BTreeMap<String, String>,
}

/// Yes or no, fixed or from the config.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Flag {
    Fixed(bool),
    Given { key: String, default: bool },
}

impl Number {
    pub(crate) fn read(&self, config: ConfigView<'_>, sizes: &Sizes) -> Result<f64, BindError> {
        let given = match &self.key {
            Some(key) => config.number(key)?,
            None => None,
        };
        let size = || Some(sizes.value(self.size.as_ref()?)? as f64);
        let number = given.or_else(size).or(self.default).map(|number| self.form.of(number));
        // What is computed from it is an `f32`.
        let usable = number.filter(|number| (*number as f32).is_finite());
        usable.ok_or_else(|| {
            let key = self.key.as_deref().unwrap_or_default();
            config.wrong(key, "a number that is neither too large nor too small")
        })
    }
}

impl Form {
    fn of(self, number: f64) -> f64 {
        match self {
            Self::Itself => number,
            Self::Root => number.sqrt(),
            Self::InverseRoot => 1.0 / number.sqrt(),
            Self::Inverse => 1.0 / number,
        }
    }
}

impl Count {
    pub(crate) fn read(&self, config: ConfigView<'_>) -> Result<Option<usize>, BindError> {
        Ok(self.given(config)?.or(self.default))
    }

    /// The number, which the family must have.
    pub(crate) fn required(
        &self,
        config: ConfigView<'_>,
        family: &'static str,
    ) -> Result<usize, BindError> {
        let key = || self.key.clone().unwrap_or_default();
        self.read(config)?.ok_or_else(|| BindError::ConfigMissing { key: key(), family })
    }

    /// What the config says of it.
    pub(crate) fn given(&self, config: ConfigView<'_>) -> Result<Option<usize>, BindError> {
        self.key.as_ref().map_or(Ok(None), |key| config.size(key))
    }
}

impl Limit<usize> {
    pub(crate) fn read(&self, config: ConfigView<'_>) -> Result<Option<usize>, BindError> {
        Ok(if config.is_null(&self.key) { None } else { config.size(&self.key)?.or(self.default) })
    }
}

impl Limit<f64> {
    pub(crate) fn read(&self, config: ConfigView<'_>) -> Result<Option<f32>, BindError> {
        let Self { key, default } = self;
        let limit = if config.is_null(key) { None } else { config.number(key)?.or(*default) };
        let Some(limit) = limit.map(|limit| limit as f32) else { return Ok(None) };
        if limit > 0.0 && limit.is_finite() {
            return Ok(Some(limit));
        }
        Err(config.wrong(key, "a number above 0, or null"))
    }
}

impl Named {
    /// The activation of this name.
    pub(crate) fn read(
        &self,
        config: ConfigView<'_>,
        family: &'static str,
    ) -> Result<Activation, BindError> {
        let given = config.text(&self.key)?.unwrap_or(&self.default);
        match self.read_as.get(given).map_or(given, String::as_str) {
            "silu" | "swish" => Ok(Activation::Silu),
            "gelu" | "gelu_python" => Ok(Activation::Gelu),
            "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_new" => Ok(Activation::GeluTanh),
            _ => Err(BindError::Variant {
                key: self.key.clone(),
                found: config.shown(&self.key),
                family,
                expected: r#""silu", "gelu" or "gelu_pytorch_tanh""#.to_owned(),
            }),
        }
    }
}

impl Flag {
    pub(crate) fn read(&self, config: ConfigView<'_>) -> Result<bool, BindError> {
        match self {
            Self::Fixed(flag) => Ok(*flag),
            Self::Given { key, default } => Ok(config.flag(key)?.unwrap_or(*default)),
        }
    }
}

/// Fails if the config has another value for `key` than those listed; in a list, every element must
/// be one of them. An absent or null value always holds.
pub(crate) fn check_assumption(
    key: &str,
    allowed: &[Value],
    family: &'static str,
    config: ConfigView<'_>,
) -> Result<(), BindError> {
    let is_allowed = |value: &Value| {
        let is_equal = |known: &Value| match (known.as_f64(), value.as_f64()) {
            (Some(known), Some(value)) => known == value,
            _ => known == value,
        };
        allowed.iter().any(is_equal)
    };
    let holds = |value: &Value| match value.as_array() {
        Some(list) => list.iter().all(is_allowed),
        None => is_allowed(value),
    };
    match config.get(key) {
        Some(found) if !holds(found) => {
            let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
            let expected = if allowed.is_empty() { "nothing".into() } else { allowed.join(" or ") };
            Err(BindError::Variant { key: key.into(), found: shown(found), family, expected })
        }
        _ => Ok(()),
    }
}
