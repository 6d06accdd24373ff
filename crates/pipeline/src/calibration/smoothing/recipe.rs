//! Which scales are asked for.

use crate::recipe::Recipe;
use llmopt_calib::{Needs, Observation};
use llmopt_data::CalibrationSource;
use llmopt_quant::{add_column_squares, least_noise_scales, raise_column_maxima, smoothing_scales};
use llmopt_run::Error;
use serde::{Serialize, Serializer};
use std::fmt;

/// How the scales of channels are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Smooth {
    /// For the least noise that rounding inputs adds to outputs.
    LeastNoise,
    /// By maxima of inputs and weights: how much of the range goes into the weights, from 0 to 1.
    Strength(f64),
}

/// What is known of the columns of the matrices that read some channels.
pub(super) enum Columns {
    /// The sum of squares of each.
    Squares(Vec<f64>),
    /// The greatest magnitude of each.
    Maxima(Vec<f32>),
}

impl Smooth {
    /// What of the inputs it asks for.
    pub(super) fn needs(self) -> Needs {
        let maxima = matches!(self, Self::Strength(_));
        Needs { maxima, fourths: !maxima, ..Needs::default() }
    }

    /// Nothing seen of so many columns.
    pub(super) fn columns(self, count: usize) -> Columns {
        match self {
            Self::LeastNoise => Columns::Squares(vec![0.0; count]),
            Self::Strength(_) => Columns::Maxima(vec![0.0; count]),
        }
    }

    /// The scale of each channel.
    pub(super) fn scales(self, seen: &Observation, columns: &Columns) -> Vec<f32> {
        match (self, columns) {
            (Self::Strength(strength), Columns::Maxima(maxima)) => {
                smoothing_scales(seen.maxima().unwrap_or_default(), maxima, strength)
            }
            (_, Columns::Squares(squares)) => {
                least_noise_scales(seen.fourths().unwrap_or_default(), seen.tokens(), squares)
            }
            (Self::LeastNoise, Columns::Maxima(_)) => unreachable!("it asks for squares"),
        }
    }
}

impl Columns {
    /// Looks at some rows, row-major.
    pub(super) fn add_rows(&mut self, weights: &[f32]) {
        match self {
            Self::Squares(sums) => add_column_squares(sums, weights),
            Self::Maxima(maxima) => raise_column_maxima(maxima, weights),
        }
    }

    /// With what was seen of other rows.
    pub(super) fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Squares(sums), Self::Squares(others)) => {
                sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
            }
            (Self::Maxima(maxima), Self::Maxima(others)) => {
                maxima.iter_mut().zip(others).for_each(|(most, other)| *most = most.max(*other));
            }
            _ => unreachable!("one run asks for one of the two"),
        }
    }
}

impl Recipe {
    /// Whether smoothing can be had with the data that there are.
    ///
    /// # Errors
    /// If there are none, or statistics alone.
    pub(crate) fn check_smoothing(&self) -> Result<(), Error> {
        let Some(smooth) = self.smooth else { return Ok(()) };
        if let Smooth::Strength(strength) = smooth
            && !(0.0..=1.0).contains(&strength)
        {
            return Err(Error::Refused(format!(
                "a smoothing strength lies between 0 and 1, which {strength} does not"
            )));
        }
        let Some(calibrate) = &self.calibrate else {
            return Err(Error::RefusedWithHint {
                what: "`--smooth` needs calibration data".to_owned(),
                hint: "`--calibrate FILE` gives them; `--calibrate builtin` takes the text that comes with llmopt"
                    .to_owned(),
            });
        };
        match calibrate.data.sources.iter().any(CalibrationSource::is_statistics) {
            true => Err(Error::RefusedWithHint {
                what:
                    "`--smooth` cannot be had from statistics files: they hold neither the maxima \
                       nor the fourth powers of inputs"
                        .to_owned(),
                hint: "give the data themselves to `--calibrate`".to_owned(),
            }),
            false => Ok(()),
        }
    }
}

/// `least-noise`, or the strength.
impl fmt::Display for Smooth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeastNoise => f.write_str("least-noise"),
            Self::Strength(strength) => strength.fmt(f),
        }
    }
}

/// As it is shown; a strength is a number.
impl Serialize for Smooth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::LeastNoise => serializer.collect_str(self),
            Self::Strength(strength) => serializer.serialize_f64(*strength),
        }
    }
}
