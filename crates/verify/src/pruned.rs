//! What became of the units of one place of a pruned model, as its report tells.

use serde::{Deserialize, Serialize};

/// What became of the units of one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrunedUnits {
    /// The layer.
    pub layer: usize,
    /// The expert, where the units are one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert: Option<usize>,
    /// The axis.
    pub axis: String,
    /// The matrix that reads the units.
    pub reader: String,
    /// The layers behind it that it stands in for, where some go.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stands_for: Vec<usize>,
    /// How many there were.
    pub units: usize,
    /// Those that stay, ascending; written as runs, such as `0-11 13-21`.
    #[serde(serialize_with = "crate::runs::write", deserialize_with = "crate::runs::read")]
    pub kept: Vec<usize>,
    /// Tokens that were seen.
    pub tokens: u64,
    /// By how much the squared error of the outputs rises above that of all units refitted, as a share of
    /// the outputs' energy, by the sums on which both were fitted; none where units went by a score, or
    /// nothing was fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// That share as units were removed one batch after the other, where they were.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub curve: Vec<StepFacts>,
    /// Units that were swapped afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swaps: Option<usize>,
    /// What was added to the diagonal of the Gram matrix, relative to its mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damping: Option<f64>,
    /// What moving gate and up projection did, where they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved: Option<MovedFacts>,
    /// Why it was not pruned as asked for, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// What moving gate and up projection of the units that stay did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovedFacts {
    /// The matrices that were moved.
    pub tensors: Vec<String>,
    /// Steps of conjugate gradients; zero if none made it better.
    pub steps: usize,
    /// The squared error of the outputs before, as a share of the energy of those asked for.
    pub before: f64,
    /// That behind the steps, before the reader was refitted to them.
    pub after: f64,
}

/// A point of the curve of estimated damage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepFacts {
    /// Units left.
    pub kept: usize,
    /// As [`PrunedUnits::loss`].
    pub loss: f64,
}
