//! A scheme as the argument dictionaries of compressed-tensors, and back.

use crate::ConfigError;
use llmopt_scheme::{Activations, Granularity, Numeric, Scheme};
use serde_json::{Map, Value, json};

/// A dictionary's meaning, with what its absent keys default to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Arguments {
    numeric: Numeric,
    symmetric: bool,
    strategy: Strategy,
    dynamic: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strategy {
    Channel,
    Group(usize),
    Block { rows: usize, columns: usize },
    Token,
}

/// The value of `weights` for `scheme`.
pub(crate) fn weights(scheme: &Scheme) -> Value {
    let strategy = match scheme.granularity {
        Granularity::Channel => Strategy::Channel,
        Granularity::Group(size) => Strategy::Group(size),
        Granularity::Block { rows, columns } => Strategy::Block { rows, columns },
    };
    let Scheme { weights: numeric, symmetric, .. } = *scheme;
    Arguments { numeric, symmetric, strategy, dynamic: false }.to_json()
}

/// The value of `input_activations` for `scheme`.
pub(crate) fn input_activations(scheme: &Scheme) -> Value {
    let (numeric, strategy) = match scheme.activations {
        Activations::None => return Value::Null,
        Activations::Int8Token => (Numeric::Int { bits: 8 }, Strategy::Token),
        Activations::Fp8Token => (Numeric::E4m3, Strategy::Token),
        Activations::Fp8Group(size) => (Numeric::E4m3, Strategy::Group(size)),
    };
    Arguments { numeric, symmetric: true, strategy, dynamic: true }.to_json()
}

/// The scheme that a group's `weights` and `input_activations` say; `at` is the group's path.
pub(crate) fn scheme(at: &str, group: &Map<String, Value>) -> Result<Scheme, ConfigError> {
    let path = |key: &str| format!("{at}.{key}");
    let read = |key: &str| match group.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => Arguments::read(&path(key), value).map(|arguments| Some((arguments, value))),
    };
    let (weights, value) = read("weights")?.ok_or(ConfigError::Missing(path("weights")))?;
    let refuse = |expected| ConfigError::value(path("weights"), value, expected);
    if weights.dynamic {
        return Err(refuse("weights whose scales are stored"));
    }
    let granularity = match weights.strategy {
        Strategy::Channel => Granularity::Channel,
        Strategy::Group(size) => Granularity::Group(size),
        Strategy::Block { rows, columns } => Granularity::Block { rows, columns },
        Strategy::Token => return Err(refuse("weights per channel, group or block")),
    };
    let activations = match read("input_activations")? {
        None => Activations::None,
        Some((arguments, value)) => arguments.activations().ok_or_else(|| {
            let expected = "symmetric dynamic int8 or E4M3 per token, or E4M3 per group";
            ConfigError::value(path("input_activations"), value, expected)
        })?,
    };
    Ok(Scheme { weights: weights.numeric, granularity, symmetric: weights.symmetric, activations })
}

impl Arguments {
    /// All twelve keys, which every version from 0.13 to 0.19 knows, and no other.
    fn to_json(self) -> Value {
        let (kind, bits) = match self.numeric {
            Numeric::Int { bits } => ("int", bits),
            Numeric::E4m3 => ("float", 8),
        };
        let (strategy, group_size, block_structure) = match self.strategy {
            Strategy::Channel => ("channel", Value::Null, Value::Null),
            Strategy::Group(size) => ("group", size.into(), Value::Null),
            Strategy::Block { rows, columns } => ("block", Value::Null, json!([rows, columns])),
            Strategy::Token => ("token", Value::Null, Value::Null),
        };
        let zp_dtype = if self.symmetric { Value::Null } else { "torch.int8".into() };
        json!({
            "num_bits": bits,
            "type": kind,
            "symmetric": self.symmetric,
            "strategy": strategy,
            "group_size": group_size,
            "dynamic": self.dynamic,
            "actorder": null,
            "block_structure": block_structure,
            "observer": null,
            "observer_kwargs": {},
            "scale_dtype": null,
            "zp_dtype": zp_dtype,
        })
    }

    /// Keys that are absent or null have the defaults of compressed-tensors.
    fn read(at: &str, value: &Value) -> Result<Self, ConfigError> {
        let map = value.as_object().ok_or_else(|| ConfigError::value(at, value, "an object"))?;
        let keys = Keys { at, map };
        let numeric = keys.numeric()?;
        let symmetric = keys.flag("symmetric", true)?;
        let dynamic = keys.flag("dynamic", false)?;
        keys.one_of("actorder", &["weight", "static"])?;
        keys.one_of("scale_dtype", &["torch.float32", "torch.float16", "torch.bfloat16"])?;
        Ok(Self { numeric, symmetric, strategy: keys.strategy()?, dynamic })
    }

    fn activations(self) -> Option<Activations> {
        match (self.numeric, self.strategy) {
            _ if !self.symmetric || !self.dynamic => None,
            (Numeric::Int { bits: 8 }, Strategy::Token) => Some(Activations::Int8Token),
            (Numeric::E4m3, Strategy::Token) => Some(Activations::Fp8Token),
            (Numeric::E4m3, Strategy::Group(size)) => Some(Activations::Fp8Group(size)),
            _ => None,
        }
    }
}

/// The keys of one dictionary, with its path for errors.
struct Keys<'a> {
    at: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Keys<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn refuse<T>(&self, key: &str, expected: &'static str) -> Result<T, ConfigError> {
        let found = self.map.get(key).unwrap_or(&Value::Null);
        Err(ConfigError::value(format!("{}.{key}", self.at), found, expected))
    }

    fn numeric(&self) -> Result<Numeric, ConfigError> {
        let bits = self.get("num_bits").map_or(Some(8), Value::as_u64);
        let kind = self.get("type").map_or(Some("int"), Value::as_str).map(str::to_lowercase);
        match (kind.as_deref(), bits) {
            (Some("int"), Some(bits @ 2..=8)) => Ok(Numeric::Int { bits: bits as u8 }),
            (Some("int"), _) => self.refuse("num_bits", "2 to 8 for integers"),
            (Some("float"), Some(8)) => Ok(Numeric::E4m3),
            (Some("float"), _) => self.refuse("num_bits", "8 for floats"),
            _ => self.refuse("type", "`int` or `float`"),
        }
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.get(key).map(Value::as_bool) {
            None => Ok(default),
            Some(Some(flag)) => Ok(flag),
            Some(None) => self.refuse(key, "true or false"),
        }
    }

    /// Keys that change nothing about the bytes, as long as they say one of `names`, or nothing.
    fn one_of(&self, key: &str, names: &[&str]) -> Result<(), ConfigError> {
        match self.get(key) {
            None | Some(Value::Bool(false)) => Ok(()),
            Some(Value::String(name)) if names.contains(&name.as_str()) => Ok(()),
            Some(_) if key == "actorder" => self.refuse(key, "null, `weight` or `static`"),
            Some(_) => self.refuse(key, "null or a plain float type"),
        }
    }

    fn strategy(&self) -> Result<Strategy, ConfigError> {
        let size = self.get("group_size").map(|size| size.as_i64());
        let strategy = self.get("strategy").map(|name| name.as_str().map(str::to_lowercase));
        match (strategy.as_ref().map(|name| name.as_deref()), size) {
            (None, Some(Some(-1))) | (Some(Some("channel")), None | Some(Some(-1))) => {
                Ok(Strategy::Channel)
            }
            (None | Some(Some("group")), Some(Some(size @ 1..))) => match usize::try_from(size) {
                Ok(size) => Ok(Strategy::Group(size)),
                Err(_) => self.refuse("group_size", "a positive number"),
            },
            (Some(Some("group")), _) => self.refuse("group_size", "a positive number"),
            (Some(Some("block")), None | Some(Some(-1))) => self.block(),
            (Some(Some("token")), None | Some(Some(-1))) => Ok(Strategy::Token),
            (Some(Some("channel" | "block" | "token")), _) => {
                self.refuse("group_size", "null, for groups alone have a size")
            }
            _ => self.refuse("strategy", "`channel`, `group`, `block` or `token`"),
        }
    }

    fn block(&self) -> Result<Strategy, ConfigError> {
        let axis = |value: &Value| value.as_u64().and_then(|axis| usize::try_from(axis).ok());
        let axes = self.get("block_structure").and_then(Value::as_array).map(Vec::as_slice);
        match axes {
            Some([rows, columns]) => match (axis(rows), axis(columns)) {
                (Some(rows @ 1..), Some(columns @ 1..)) => Ok(Strategy::Block { rows, columns }),
                _ => self.refuse("block_structure", "two positive numbers"),
            },
            _ => self.refuse("block_structure", "two positive numbers"),
        }
    }
}
