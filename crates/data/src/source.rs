//! Where calibration data come from, as users write it.

use crate::builtin;
use crate::texts::file_name;
use llmopt_checkpoint::Source;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A source of calibration data, and its part of the mix against the others' weights.
#[derive(Clone, Debug, PartialEq)]
pub enum CalibrationSource {
    /// The text that comes with the program: it is cut by the model's tokenizer.
    Builtin {
        /// Its weight.
        weight: f64,
    },
    /// The model itself: neither data nor a tokenizer are needed.
    SelfDrawn {
        /// Its weight.
        weight: f64,
    },
    /// A text, or token ids.
    File {
        /// Where it lies.
        path: PathBuf,
        /// Its weight.
        weight: f64,
    },
}

/// Why something is no source.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum SourceError {
    #[error("a calibration source without a name")]
    Empty,
    #[error("the weight of `{name}` is {weight}, expected a finite number above 0")]
    Weight { name: String, weight: f64 },
}

impl CalibrationSource {
    /// Its part of the mix, against the others' weights.
    pub fn weight(&self) -> f64 {
        match self {
            Self::Builtin { weight } | Self::SelfDrawn { weight } | Self::File { weight, .. } => {
                *weight
            }
        }
    }

    /// `builtin`, `self`, or the name of the file without its folder.
    pub fn name(&self) -> String {
        match self {
            Self::Builtin { .. } => BUILTIN.to_owned(),
            Self::SelfDrawn { .. } => SELF.to_owned(),
            Self::File { path, .. } => file_name(path),
        }
    }

    /// What is observed on where nobody says: the text that comes with the program; the model itself where no
    /// tokenizer lies beside it that could cut a text.
    pub fn usual(model: &Path) -> Self {
        let folder = if model.is_file() { model.parent().unwrap_or(model) } else { model };
        match folder.join("tokenizer.json").is_file() {
            true => Self::Builtin { weight: 1.0 },
            false => Self::SelfDrawn { weight: 1.0 },
        }
    }

    /// Whether it is a file of statistics, whose data are chosen already.
    pub fn is_statistics(&self) -> bool {
        matches!(self, Self::File { path, .. } if is_statistics_file(path))
    }

    /// Checks the weight.
    ///
    /// # Errors
    /// If it is not finite, or not above zero.
    pub fn check(&self) -> Result<(), SourceError> {
        let weight = self.weight();
        match weight.is_finite() && weight > 0.0 {
            true => Ok(()),
            false => Err(SourceError::Weight { name: self.name(), weight }),
        }
    }

    /// Whether both are the same data, however they are weighted.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Builtin { .. }, Self::Builtin { .. })
            | (Self::SelfDrawn { .. }, Self::SelfDrawn { .. }) => true,
            (Self::File { path, .. }, Self::File { path: other, .. }) => path == other,
            _ => false,
        }
    }
}

/// `builtin`, `self`, `FILE`, and each with a weight behind a colon. A file whose name ends like a weight is
/// taken for itself where it exists, and so are `./builtin` and `./self`.
impl FromStr for CalibrationSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let weighted = text.rsplit_once(':').and_then(|(name, weight)| {
            let is_file = Path::new(text).is_file();
            weight.parse::<f64>().ok().filter(|_| !is_file).map(|weight| (name, weight))
        });
        let (name, weight) = weighted.unwrap_or((text, 1.0));
        let source = match name {
            "" => return Err(SourceError::Empty),
            BUILTIN => Self::Builtin { weight },
            SELF => Self::SelfDrawn { weight },
            file => Self::File { path: PathBuf::from(file), weight },
        };
        source.check()?;
        Ok(source)
    }
}

/// As a plan tells it: the built-in text with the beginning of its hash, which is its version.
impl fmt::Display for CalibrationSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin { .. } => write!(f, "the built-in text {}", &builtin::sha256()[..12]),
            Self::SelfDrawn { .. } | Self::File { .. } => f.write_str(&self.name()),
        }
    }
}

/// Name and weight, and no folder.
impl Serialize for CalibrationSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("CalibrationSource", 2)?;
        fields.serialize_field("name", &self.name())?;
        fields.serialize_field("weight", &self.weight())?;
        fields.end()
    }
}

/// As it is written. A file is one in the current folder.
impl<'de> Deserialize<'de> for CalibrationSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            name: String,
            weight: f64,
        }
        let Written { name, weight } = Written::deserialize(deserializer)?;
        let source = match name.as_str() {
            BUILTIN => Self::Builtin { weight },
            SELF => Self::SelfDrawn { weight },
            file => Self::File { path: PathBuf::from(file), weight },
        };
        source.check().map_err(serde::de::Error::custom)?;
        Ok(source)
    }
}

/// Whether a file says of itself that it holds statistics. What is wrong with it is not looked at.
pub fn is_statistics_file(path: &Path) -> bool {
    let ending = path.extension().is_some_and(|ending| ending == "safetensors");
    let source = Some(path).filter(|path| ending && path.is_file()).map(Source::open);
    let says_so =
        |source: Source| source.shards()[0].header.metadata().contains_key(STATISTICS_KEY);
    source.is_some_and(|source| source.is_ok_and(says_so))
}

/// Only the metadata of statistics files have this key.
pub const STATISTICS_KEY: &str = "llmopt.statistics";

const BUILTIN: &str = "builtin";
const SELF: &str = "self";

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, weight: f64) -> CalibrationSource {
        CalibrationSource::File { path: PathBuf::from(path), weight }
    }

    fn check(text: &str, expected: Result<CalibrationSource, &str>) {
        let found = text.parse::<CalibrationSource>().map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_number_behind_a_colon_is_a_weight() {
        check("a.jsonl", Ok(file("a.jsonl", 1.0)));
        check("a.jsonl:0.7", Ok(file("a.jsonl", 0.7)));
        check("data/a.txt:3", Ok(file("data/a.txt", 3.0)));
        check("a:b.txt", Ok(file("a:b.txt", 1.0)));
        check("a:2:1e-3", Ok(file("a:2", 1e-3)));
        check("self", Ok(CalibrationSource::SelfDrawn { weight: 1.0 }));
        check("self:0.5", Ok(CalibrationSource::SelfDrawn { weight: 0.5 }));
        check("./self", Ok(file("./self", 1.0)));
        check("builtin", Ok(CalibrationSource::Builtin { weight: 1.0 }));
        check("builtin:3", Ok(CalibrationSource::Builtin { weight: 3.0 }));
        check("./builtin", Ok(file("./builtin", 1.0)));
    }

    #[test]
    fn a_weight_that_is_none_is_refused() {
        let wrong =
            |weight| format!("the weight of `b.txt` is {weight}, expected a finite number above 0");
        check("d/b.txt:0", Err(&wrong("0")));
        check("b.txt:-1.5", Err(&wrong("-1.5")));
        check("b.txt:nan", Err(&wrong("NaN")));
        check("b.txt:inf", Err(&wrong("inf")));
        check("", Err("a calibration source without a name"));
        check(":1", Err("a calibration source without a name"));
    }

    #[test]
    fn a_file_that_is_named_like_a_weight_is_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("part:2");
        llmopt_checkpoint::write_file(&path, b"text").expect("a file");
        let path = path.to_str().expect("UTF-8");
        check(path, Ok(file(path, 1.0)));
        check(&format!("{path}:2"), Ok(file(path, 2.0)));
    }

    #[test]
    fn a_report_has_no_folders() {
        let source = file("/texts/someone/a.txt", 0.5);
        let json = serde_json::to_string(&source).expect("JSON");
        assert_eq!(json, r#"{"name":"a.txt","weight":0.5}"#);
        let read: CalibrationSource = serde_json::from_str(&json).expect("a source");
        assert_eq!(read, file("a.txt", 0.5));
        assert!(
            serde_json::from_str::<CalibrationSource>(r#"{"name":"self","weight":-1}"#).is_err()
        );
    }
}
