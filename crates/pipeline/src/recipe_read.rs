//! Recipes as reports hold them, read back: what is not read as it is named.

use crate::calibration::Smooth;
use crate::method::Method;
use crate::recipe::Calibrate;
use llmopt_arch::axes::Axis;
use llmopt_codec::Runtime;
use llmopt_linalg::{KernelChoice, Precision};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::str::FromStr;

/// Runtimes by their names.
pub(crate) fn runtimes<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<Runtime>, D::Error> {
    named(reader, "runtime", |name| Runtime::ALL.into_iter().find(|found| found.name() == name))
}

/// Axes by their names.
pub(crate) fn axes<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<Axis>, D::Error> {
    named(reader, "axis", |name| Axis::ALL.into_iter().find(|found| found.name() == name))
}

fn named<'de, T, D: Deserializer<'de>>(
    reader: D,
    what: &str,
    find: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, D::Error> {
    let names = Vec::<String>::deserialize(reader)?;
    let find = |name: &String| find(name).ok_or_else(|| D::Error::custom(unknown(what, name)));
    names.iter().map(find).collect()
}

/// What does not name its data: those are a structure of their own, laid beside it.
#[derive(Deserialize)]
struct Beside {
    sequential: bool,
    held_out: bool,
    precision: String,
    kernel: String,
}

/// Numbers of any precision do not go through a flattened field.
impl<'de> Deserialize<'de> for Calibrate {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(reader)?;
        let beside = Beside::deserialize(&value).map_err(D::Error::custom)?;
        let data = serde_json::from_value(value).map_err(D::Error::custom)?;
        let Beside { sequential, held_out, precision, kernel } = beside;
        let precision = match precision.as_str() {
            "f32" => Precision::F32,
            "bf16" => Precision::Bf16,
            other => return Err(D::Error::custom(unknown("precision", other))),
        };
        let kernel = KernelChoice::from_str(&kernel).map_err(D::Error::custom)?;
        Ok(Self { data, sequential, held_out, precision, kernel })
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        String::deserialize(reader)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Smooth {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(reader)?;
        match (value.as_str(), value.as_f64()) {
            (Some("least-noise"), _) => Ok(Self::LeastNoise),
            (_, Some(strength)) => Ok(Self::Strength(strength)),
            _ => Err(D::Error::custom(unknown("smoothing", &value.to_string()))),
        }
    }
}

fn unknown(what: &str, name: &str) -> String {
    format!("there is no {what} `{name}` in this version")
}
