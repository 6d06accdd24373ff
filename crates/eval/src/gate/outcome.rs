//! What became of a gate.

use crate::gate::metric::Metric;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// What became of a gate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The gate as it was written.
    pub gate: String,
    /// The name of the text or of the tasks that it is on; none, if it is on all together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// What it bounds.
    pub metric: Metric,
    /// What was found.
    pub value: f64,
    /// The ends of its 95 % interval. Sizes have none, and neither has what was measured on a single
    /// window or question.
    pub interval: Option<(f64, f64)>,
    /// What the value is held to.
    pub limit: f64,
    /// The value in the baseline that the limit follows from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// What the interval says.
    pub verdict: Verdict,
    /// Whether it counts as passed: that of an unsure one was decided beforehand.
    pub passed: bool,
    /// How far beyond the limit the value is: 0 where it is not.
    pub missed_by: f64,
}

/// What the interval of a metric says about a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All of it is on the right side.
    Pass,
    /// All of it is on the wrong side, or there is no value at all.
    Fail,
    /// The limit is within it, or there is none although windows or questions were drawn.
    Unsure,
}

/// What an unsure gate counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnsure {
    /// As missed: only what is shown to hold passes.
    #[default]
    Fail,
    /// As passed: only what is shown not to hold is missed.
    Pass,
}

/// A word that is neither `fail` nor `pass`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an unsure gate counts as `fail` or `pass`, not `{0}`")]
pub struct UnknownOnUnsure(String);

impl FromStr for OnUnsure {
    type Err = UnknownOnUnsure;

    fn from_str(text: &str) -> Result<Self, UnknownOnUnsure> {
        match text {
            "fail" => Ok(Self::Fail),
            "pass" => Ok(Self::Pass),
            _ => Err(UnknownOnUnsure(text.to_owned())),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unsure => "unsure",
        })
    }
}
