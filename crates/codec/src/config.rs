//! `quantization_config`: what tells a loader which modules are stored how.
//!
//! Written in the full form of compressed-tensors, from schemes that its codec can store. Read from
//! anyone's folder: schemes that we know become [`Scheme`]s, anything else is an error with its path.

use crate::matching::{FusedConflict, Matcher, PatternError};
use crate::{Unsupported, arguments, for_format, for_scheme};
use llmopt_scheme::Scheme;
use llmopt_tensor::Dtype;
use serde_json::{Map, Value, json};

/// Which modules are quantized, and how. If one exists, every pattern in it is understood.
#[derive(Clone, Debug)]
pub struct QuantizationConfig {
    groups: Vec<ConfigGroup>,
    ignore: Vec<String>,
    targets: Matcher,
    ignored: Matcher,
}

/// Modules that share a scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigGroup {
    /// Its key in `config_groups`.
    pub name: String,
    /// Module paths, regular expressions that begin with `re:`, or class names.
    pub targets: Vec<String>,
    /// The layout of its modules.
    pub format: &'static str,
    /// How its modules are quantized.
    pub scheme: Scheme,
}

/// A `quantization_config` that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key that must be there.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A value that is none of ours.
    #[error("`{at}` is {found}, expected {expected}")]
    Value {
        /// Path of the key.
        at: String,
        /// The value, shortened.
        found: String,
        /// What we understand there.
        expected: &'static str,
    },
    /// A target or an entry of `ignore`.
    #[error("`{at}`: {error}")]
    Pattern {
        /// Path of the list.
        at: String,
        /// What is wrong with the pattern.
        error: PatternError,
    },
    /// The scheme is known, but the format cannot hold it.
    #[error("`{at}`: {error}")]
    Unsupported {
        /// Path of the group.
        at: String,
        /// Why not.
        error: Unsupported,
    },
}

impl QuantizationConfig {
    /// A config of one group per `(targets, scheme)`, named `group_0`, `group_1`, ...
    ///
    /// # Errors
    /// [`ConfigError`] if a pattern is no pattern, or no format holds a scheme.
    pub fn new(
        groups: Vec<(Vec<String>, Scheme)>,
        ignore: Vec<String>,
    ) -> Result<Self, ConfigError> {
        let group = |(i, (targets, scheme)): (usize, (Vec<String>, Scheme))| {
            let name = format!("group_{i}");
            let format = for_scheme(&scheme).format();
            check_storable(&format!("config_groups.{name}"), format, &scheme)?;
            Ok(ConfigGroup { name, targets, format, scheme })
        };
        let groups: Result<_, ConfigError> = groups.into_iter().enumerate().map(group).collect();
        Self::bound(groups?, ignore)
    }

    /// Reads a `quantization_config` as found in `config.json`.
    ///
    /// # Errors
    /// [`ConfigError`], with the path of what is not understood.
    pub fn parse(config: &Value) -> Result<Self, ConfigError> {
        let config = object("quantization_config", config)?;
        match config.get("quant_method") {
            Some(Value::String(method)) if method == "compressed-tensors" => {}
            Some(other) => {
                return Err(ConfigError::value("quant_method", other, "`compressed-tensors`"));
            }
            None => return Err(ConfigError::Missing("quant_method".to_owned())),
        }
        let groups = config
            .get("config_groups")
            .ok_or_else(|| ConfigError::Missing("config_groups".to_owned()))?;
        let groups: Result<Vec<_>, _> = object("config_groups", groups)?
            .iter()
            .map(|(name, group)| parse_group(name, group, config.get("format")))
            .collect();
        let ignore = match config.get("ignore") {
            None | Some(Value::Null) => Vec::new(),
            Some(ignore) => strings("ignore", ignore)?,
        };
        Self::bound(groups?, ignore)
    }

    /// The full form, which compressed-tensors 0.13 to 0.19 accept. What is in the tensors is another
    /// matter: codes of 3, 5, 6 and 7 bits are read rightly from 0.18 on.
    pub fn to_json(&self) -> Value {
        let groups: Map<String, Value> =
            self.groups.iter().map(|group| (group.name.clone(), group.to_json())).collect();
        json!({
            "quant_method": "compressed-tensors",
            "version": self.version(),
            "format": self.format(),
            "quantization_status": "compressed",
            "global_compression_ratio": null,
            "ignore": self.ignore,
            "kv_cache_scheme": null,
            "sparsity_config": {},
            "transform_config": {},
            "config_groups": groups,
        })
    }

    /// The groups, in the order of the config.
    pub fn groups(&self) -> &[ConfigGroup] {
        &self.groups
    }

    /// What stays dense although it is targeted: paths, expressions, class names.
    pub fn ignore(&self) -> &[String] {
        &self.ignore
    }

    /// The group of the linear layer `module`, or `None` if it is dense, by the rules of
    /// compressed-tensors itself and of Transformers.
    pub fn scheme_of(&self, module: &str) -> Option<&ConfigGroup> {
        if self.ignored.find(module).is_some() {
            return None;
        }
        self.targets.find(module).map(|group| &self.groups[group])
    }

    /// The group of the linear layer that vLLM calls `module` and loads from `parts` (from itself, if
    /// there are none), or `None` if it is dense, by vLLM's rules.
    ///
    /// # Errors
    /// [`FusedConflict`] if the parts are not all of one group, or not all dense.
    pub fn fused_scheme_of(
        &self,
        module: &str,
        parts: &[&str],
    ) -> Result<Option<&ConfigGroup>, FusedConflict> {
        if self.ignored.has_fused(module, parts)? {
            return Ok(None);
        }
        let group = self.targets.find_fused(module, parts)?;
        Ok(group.map(|group| &self.groups[group]))
    }

    /// The oldest compressed-tensors that reads such artifacts as they are meant: formats per group since 0.17,
    /// codes that cross words since 0.18: before, a word held as many whole ones as fit.
    pub fn version(&self) -> &'static str {
        let crosses = |group: &ConfigGroup| !group.scheme.weights.bits().is_power_of_two();
        if self.groups.iter().any(crosses) { "0.18.0" } else { "0.17.0" }
    }

    fn bound(groups: Vec<ConfigGroup>, ignore: Vec<String>) -> Result<Self, ConfigError> {
        let pattern = |at: String| move |error| ConfigError::Pattern { at: at.clone(), error };
        let entries = groups
            .iter()
            .enumerate()
            .flat_map(|(i, group)| group.targets.iter().map(move |target| (target.as_str(), i)));
        let targets = Matcher::new(entries).map_err(pattern("config_groups".to_owned()))?;
        let ignored = Matcher::new(ignore.iter().map(|entry| (entry.as_str(), 0)))
            .map_err(pattern("ignore".to_owned()))?;
        Ok(Self { groups, ignore, targets, ignored })
    }

    fn format(&self) -> &'static str {
        match self.groups.split_first() {
            None => "dense",
            Some((first, rest)) if rest.iter().all(|group| group.format == first.format) => {
                first.format
            }
            Some(_) => "mixed-precision",
        }
    }
}

impl ConfigGroup {
    /// The five keys of a group, and no other: unknown ones are refused by the loaders.
    fn to_json(&self) -> Value {
        json!({
            "format": self.format,
            "targets": self.targets,
            "input_activations": arguments::input_activations(&self.scheme),
            "output_activations": null,
            "weights": arguments::weights(&self.scheme),
        })
    }
}

impl ConfigError {
    pub(crate) fn value(at: impl Into<String>, found: &Value, expected: &'static str) -> Self {
        Self::Value { at: at.into(), found: shortened(found), expected }
    }
}

fn parse_group(
    name: &str,
    group: &Value,
    default_format: Option<&Value>,
) -> Result<ConfigGroup, ConfigError> {
    let at = format!("config_groups.{name}");
    let group = object(&at, group)?;
    let targets = match group.get("targets") {
        Some(targets) => strings(&format!("{at}.targets"), targets)?,
        None => return Err(ConfigError::Missing(format!("{at}.targets"))),
    };
    let scheme = arguments::scheme(&at, group)?;
    if let Some(outputs) = group.get("output_activations").filter(|value| !value.is_null()) {
        return Err(ConfigError::value(format!("{at}.output_activations"), outputs, "null"));
    }
    let format = match group.get("format").filter(|value| !value.is_null()).or(default_format) {
        Some(value) => value.as_str().and_then(for_format).ok_or_else(|| {
            let expected = "`pack-quantized`, `int-quantized` or `float-quantized`";
            ConfigError::value(format!("{at}.format"), value, expected)
        })?,
        None => return Err(ConfigError::Missing(format!("{at}.format"))),
    };
    check_storable(&at, format.format(), &scheme)?;
    Ok(ConfigGroup { name: name.to_owned(), targets, format: format.format(), scheme })
}

/// Asks the codec with a matrix that every granularity divides.
fn check_storable(at: &str, format: &str, scheme: &Scheme) -> Result<(), ConfigError> {
    let columns = match scheme.granularity {
        llmopt_scheme::Granularity::Group(size) => size,
        _ => 1,
    };
    match for_format(format).map(|codec| codec.layout(scheme, Dtype::F32, 1, columns)) {
        Some(Err(error)) => Err(ConfigError::Unsupported { at: at.to_owned(), error }),
        _ => Ok(()),
    }
}

fn object<'a>(at: &str, value: &'a Value) -> Result<&'a Map<String, Value>, ConfigError> {
    value.as_object().ok_or_else(|| ConfigError::value(at, value, "an object"))
}

fn strings(at: &str, value: &Value) -> Result<Vec<String>, ConfigError> {
    let list = value.as_array().ok_or_else(|| ConfigError::value(at, value, "a list"))?;
    let text = |entry: &Value| match entry {
        Value::String(text) => Ok(text.clone()),
        other => Err(ConfigError::value(at, other, "a list of strings")),
    };
    list.iter().map(text).collect()
}

/// A value in a message: of any size in the file, of one line here.
fn shortened(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = match value {
        Value::String(text) => format!("`{}`", text.escape_debug()),
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests;
