//! What was taken as calibration data: for the report.

use llmopt_checkpoint::Sha256;
use serde::{Deserialize, Serialize};

/// What was calibrated on: enough to find the same windows again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationFacts {
    /// Tokens of a window.
    pub window: usize,
    /// How many windows.
    pub windows: usize,
    /// Where they come from.
    pub sources: Vec<SourceFacts>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// The files that had the sums, where nothing was run.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub statistics: Vec<StatisticsFacts>,
}

/// What one source gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// `builtin`, `self`, or the name of the file.
    pub name: String,
    /// Its part of the mix, against the others' weights.
    pub weight: f64,
    /// The hash of the built-in text, which tells its version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text_sha256: Option<String>,
    /// Tokens of the whole text; none for `self`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_tokens: Option<usize>,
    /// Tokens that a mask left out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked_tokens: Option<usize>,
    /// Windows taken.
    pub windows: usize,
    /// The hash of their ids, each of four bytes, the lowest first.
    pub sha256: String,
    /// What decided the draws.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How often every token was drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweeps: Option<u64>,
}

/// A statistics file that was used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatisticsFacts {
    /// Its name.
    pub name: String,
    /// The hash of its metadata, which have the hashes of all its tensors.
    pub sha256: String,
    /// Whether it has Gram matrices.
    pub gram: bool,
}

/// The hash of the ids of all windows.
pub(super) fn hash(windows: &[Vec<u32>]) -> String {
    let mut hash = Sha256::new();
    for window in windows {
        let bytes: Vec<u8> = window.iter().flat_map(|id| id.to_le_bytes()).collect();
        hash.update(&bytes);
    }
    hash.finish()
}
