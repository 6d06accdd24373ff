//! What calibration did to a tensor: for the report, and for the journal.

use serde::{Deserialize, Serialize};

/// How a tensor was quantized with what its inputs showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// How its codes were chosen.
    pub method: String,
    /// Tokens that its inputs were observed on.
    pub tokens: u64,
    /// What was added to the diagonal of the Gram matrix, as a share of its mean; none where none was
    /// solved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damping: Option<f64>,
    /// Input features that were zero on all tokens.
    pub dead_columns: usize,
    /// Relative error of the outputs on these tokens, `|QX - VX| / |WX|`, where V are the weights W or,
    /// with `qep`, those that make up for the blocks before; none where all were zero, or where no
    /// Gram matrix tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_error: Option<f64>,
    /// The same on windows that nothing was fitted to; none where none was held out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held_out: Option<HeldOut>,
    /// Why it got another method than was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// The methods among which this one was chosen.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub candidates: Vec<TriedMethod>,
}

/// What the outputs of a matrix lost on tokens that it had not seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Tokens that its inputs were observed on.
    pub tokens: u64,
    /// Relative error of the outputs on these tokens, as [`Calibrated::output_error`].
    pub output_error: f64,
}

/// A method, and how it fared on tokens that it had not seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriedMethod {
    /// Its name.
    pub method: String,
    /// Squared distance of the outputs on the windows held out from those of the original model, as a
    /// share of their square and without a part that all methods have in common. It may be negative.
    pub held_out_error: f64,
}
