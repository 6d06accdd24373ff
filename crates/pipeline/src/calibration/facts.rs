//! What calibration did to a tensor: for the report, and for a run that goes on after a break.

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

impl Calibrated {
    /// A line of the journal.
    pub(crate) fn line(&self, tensor: &str) -> String {
        let value = serde_json::to_string(&(tensor, self));
        format!("{MARK}{}", value.expect("names and numbers can be written"))
    }

    /// The tensor, and what happened to it.
    pub(crate) fn parse(line: &str) -> Option<(String, Self)> {
        serde_json::from_str(line.strip_prefix(MARK)?).ok()
    }
}

/// Begins a line that is about a tensor, not about a band.
const MARK: &str = "tensor ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_to_a_tensor_comes_back_from_its_line_to_the_last_bit() {
        // The first is one that a hasty reader of decimals gets wrong.
        for number in [0.041_071_263_224_930_356, 0.1 + 0.2, 1.0 / 3.0, f64::MIN_POSITIVE, 5e-324] {
            let tried = TriedMethod { method: "gptq".to_owned(), held_out_error: -number };
            let calibrated = Calibrated {
                method: "gptq".to_owned(),
                tokens: 32_768,
                damping: Some(number),
                dead_columns: 3,
                output_error: Some(number),
                held_out: Some(HeldOut { tokens: 4_096, output_error: number }),
                fallback: None,
                candidates: vec![tried],
            };
            let line = calibrated.line("model.layers.0.a \"b\"\nc");
            assert!(!line.contains('\n'));
            let (tensor, parsed) = Calibrated::parse(&line).expect("a line of its own");
            assert_eq!((tensor.as_str(), parsed), ("model.layers.0.a \"b\"\nc", calibrated));
        }
        assert_eq!(Calibrated::parse("7 1 2c 0 0"), None);
    }
}
