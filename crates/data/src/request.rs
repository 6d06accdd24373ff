//! What is asked for as calibration data.

use crate::source::CalibrationSource;
use llmopt_run::Error;
use llmopt_text::Date;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What to calibrate on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationRequest {
    /// Where windows come from.
    pub sources: Vec<CalibrationSource>,
    /// How many windows.
    pub samples: usize,
    /// Tokens of a window; 2048, or the model's context where that is shorter, if there is none.
    pub window: Option<usize>,
    /// Whether windows begin with the beginning-of-sequence (BOS) token.
    pub bos: bool,
    /// The day that a chat template may ask for.
    #[serde(serialize_with = "date", deserialize_with = "day")]
    pub date: Option<Date>,
    /// What decides the tokens that are drawn.
    pub seed: u64,
}

impl CalibrationRequest {
    /// The usual amount of data from these sources.
    pub fn new(sources: Vec<CalibrationSource>) -> Self {
        Self { sources, samples: 128, window: None, bos: false, date: None, seed: 0 }
    }

    /// Whether nothing of it is drawn from the model.
    pub fn is_of_texts(&self) -> bool {
        let is_drawn =
            |source: &CalibrationSource| matches!(source, CalibrationSource::SelfDrawn { .. });
        !self.sources.iter().any(is_drawn)
    }

    /// Checks that there are sources, each of them once and with a weight.
    ///
    /// # Errors
    /// A refusal that says what is missing or given twice.
    pub fn check(&self) -> Result<(), Error> {
        if self.sources.is_empty() {
            return Err(Error::RefusedWithHint {
                what: "there is nothing to calibrate on".to_owned(),
                hint: "`--calibrate builtin` takes the text that comes with llmopt".to_owned(),
            });
        }
        for (number, source) in self.sources.iter().enumerate() {
            source.check().map_err(|error| Error::Refused(error.to_string()))?;
            if self.sources[..number].iter().any(|before| before.is_same(source)) {
                return Err(Error::RefusedWithHint {
                    what: format!("`{}` is given twice as calibration data", source.name()),
                    hint: "a greater weight gives a source more windows".to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn date<S: Serializer>(date: &Option<Date>, serializer: S) -> Result<S::Ok, S::Error> {
    match date {
        Some(date) => serializer.collect_str(date),
        None => serializer.serialize_none(),
    }
}

fn day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}
