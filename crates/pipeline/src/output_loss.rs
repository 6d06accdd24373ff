//! What the outputs of quantized matrices lost, where their inputs were observed.

use crate::calibration::facts::Calibrated;
use llmopt_measure::JudgedOn;
use serde::Serialize;

/// Relative errors of outputs, [`Calibrated::output_error`], over the matrices whose inputs were observed.
///
/// The error of a matrix's weights says little of them: what calibration moves along directions in
/// which there are no inputs costs nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputLoss {
    /// The windows that they were measured on.
    pub windows: JudgedOn,
    /// How many matrices.
    pub matrices: usize,
    /// The mean over them.
    pub mean: f64,
    /// The greatest.
    pub greatest: f64,
    /// The matrix that has it.
    pub worst: String,
}

impl OutputLoss {
    /// The errors of the tensors of these names: of windows held out, if there are any.
    pub(crate) fn of<'a>(
        calibrated: impl Iterator<Item = (&'a str, &'a Calibrated)> + Clone,
    ) -> Option<Self> {
        let held_out = |facts: &Calibrated| facts.held_out.map(|held_out| held_out.output_error);
        let any = calibrated.clone().any(|(_, facts)| facts.held_out.is_some());
        let windows = if any { JudgedOn::HeldOut } else { JudgedOn::Calibration };
        let error = |facts: &Calibrated| if any { held_out(facts) } else { facts.output_error };
        let (mut matrices, mut sum, mut worst) = (0, 0.0, None::<(f64, &str)>);
        for (name, error) in calibrated.filter_map(|(name, facts)| Some((name, error(facts)?))) {
            matrices += 1;
            sum += error;
            if worst.is_none_or(|(greatest, _)| error > greatest) {
                worst = Some((error, name));
            }
        }
        let (greatest, worst) = worst?;
        let mean = sum / matrices as f64;
        Some(Self { windows, matrices, mean, greatest, worst: worst.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeldOut;

    fn calibrated(output_error: f64, held_out: Option<f64>) -> Calibrated {
        Calibrated {
            method: "gptq".to_owned(),
            tokens: 100,
            damping: None,
            dead_columns: 0,
            output_error: Some(output_error),
            held_out: held_out.map(|output_error| HeldOut { tokens: 10, output_error }),
            fallback: None,
            candidates: Vec::new(),
        }
    }

    #[test]
    fn windows_held_out_come_before_those_that_were_fitted() {
        let of = |facts: &[(&str, Calibrated)]| {
            OutputLoss::of(facts.iter().map(|(name, facts)| (*name, facts)))
        };
        assert_eq!(of(&[]), None);
        let fitted = [("a", calibrated(0.25, None)), ("b", calibrated(0.75, None))];
        let loss = of(&fitted).expect("two matrices");
        assert_eq!((loss.windows, loss.matrices), (JudgedOn::Calibration, 2));
        assert_eq!((loss.mean, loss.greatest, &*loss.worst), (0.5, 0.75, "b"));
        // One expert saw nothing of what was held out: it is not mixed in.
        let judged = [
            ("a", calibrated(0.25, Some(0.5))),
            ("b", calibrated(0.75, None)),
            ("c", calibrated(0.25, Some(0.25))),
        ];
        let loss = of(&judged).expect("two matrices");
        assert_eq!((loss.windows, loss.matrices), (JudgedOn::HeldOut, 2));
        assert_eq!((loss.mean, loss.greatest, &*loss.worst), (0.375, 0.5, "a"));
        let none = Calibrated { output_error: None, ..calibrated(0.0, None) };
        assert_eq!(of(&[("a", none)]), None);
    }
}
