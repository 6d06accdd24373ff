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

#[cfg(test)]
mod tests {
    use crate::calibration::Smooth;
    use crate::pruning::{PruneMethod, PruneRecipe};
    use crate::rebuild::parsed;
    use crate::recipe::{Calibrate, DenseDtype, Format, GroupSize, Recipe};
    use llmopt_arch::axes::Axis;
    use llmopt_codec::Runtime;
    use llmopt_data::CalibrationSource;
    use llmopt_linalg::{KernelChoice, Precision};
    use llmopt_scheme::Scheme;
    use serde::Serialize;
    use std::path::PathBuf;

    fn calibrate() -> Calibrate {
        let path = PathBuf::from("texts/a.txt");
        let sources = [
            CalibrationSource::File { path, weight: 0.1 + 0.2 },
            CalibrationSource::Builtin { weight: 1.0 },
            CalibrationSource::SelfDrawn { weight: 3.0 },
        ];
        let mut calibrate = Calibrate::new(sources.to_vec());
        (calibrate.data.window, calibrate.data.seed) = (Some(512), u64::MAX);
        (calibrate.data.bos, calibrate.held_out) = (true, true);
        calibrate.data.date = "2026-01-31".parse().ok();
        (calibrate.precision, calibrate.kernel) = (Precision::Bf16, KernelChoice::Avx512Bf16);
        calibrate
    }

    /// What a report holds of a recipe is read as what it was.
    #[track_caller]
    fn check(recipe: &impl Serialize) {
        let text = serde_json::to_string_pretty(recipe).expect("JSON");
        let value = serde_json::from_str(&text).expect("JSON");
        parsed(&value).unwrap_or_else(|error| panic!("{error}"));
    }

    #[test]
    fn recipes_of_every_scheme_and_method_are_read_back() {
        for name in Scheme::NAMES {
            check(&Recipe::new(Scheme::preset(name).expect("a preset")));
        }
        let plain = Recipe::new(Scheme::preset("w4a16").expect("a preset"));
        for name in crate::Method::NAMES {
            let method = name.parse().expect("a method");
            check(&Recipe { method, calibrate: Some(calibrate()), ..plain.clone() });
        }
        for smooth in [Smooth::LeastNoise, Smooth::Strength(0.3)] {
            check(&Recipe { smooth: Some(smooth), ..plain.clone() });
        }
        for format in [Format::Dense(DenseDtype::F32), Format::Dense(DenseDtype::Source)] {
            check(&Recipe { format, group_size: GroupSize::Columns(48), ..plain.clone() });
        }
        let exclude = vec!["re:.*\"q\".*".to_owned()];
        let runtimes = Runtime::ALL.to_vec();
        check(&Recipe { exclude, runtimes, group_size: GroupSize::Channel, ..plain.clone() });
    }

    #[test]
    fn recipes_of_pruning_are_read_back() {
        for method in [PruneMethod::Magnitude, PruneMethod::Flap, PruneMethod::Obs] {
            check(&PruneRecipe {
                sparsity: 0.1 + 0.2,
                axes: Axis::ALL.to_vec(),
                method,
                refit: true,
                refine: 5,
                bias: false,
                align: Some(32),
                strict: true,
                calibrate: calibrate(),
                runtimes: vec![Runtime::Vllm],
            });
        }
    }

    #[test]
    fn what_is_not_known_is_not_passed_over() {
        let plain = Recipe::new(Scheme::preset("w4a16").expect("a preset"));
        let written = serde_json::to_value(Recipe { calibrate: Some(calibrate()), ..plain });
        let written = written.expect("JSON");
        let refused = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut changed = written.clone();
            change(&mut changed);
            parsed(&changed).err().unwrap_or_default()
        };
        let unknown = |recipe: &mut serde_json::Value| recipe["rotate"] = true.into();
        assert!(refused(&unknown).contains("unknown field `rotate`"), "{}", refused(&unknown));
        let of_data = |recipe: &mut serde_json::Value| recipe["calibrate"]["shuffle"] = true.into();
        assert!(refused(&of_data).contains("of which only"), "{}", refused(&of_data));
        let method = |recipe: &mut serde_json::Value| recipe["method"] = "spqr".into();
        assert!(refused(&method).contains("there is no method `spqr`"), "{}", refused(&method));
    }
}
