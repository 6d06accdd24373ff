//! The calibrated methods, by name and by what they are made of.

use llmopt_scheme::{Granularity, Scheme};

/// What a calibrated method does. All of them round one column after another and let the columns that
/// are left make up for the error (GPTQ, 2210.17323).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// What is done about inputs that differ from those before anything was quantized.
    pub correction: Correction,
    /// Whether the columns with the greatest inputs come first.
    pub act_order: bool,
    /// With `act_order`, so many columns from each multiple of it stay together: those with the
    /// greatest inputs in all come first, and within them those with the greatest. A scale can then
    /// be chosen when the first of its columns is rounded, and know of the errors before; without,
    /// all scales are chosen before anything is rounded.
    pub group: Option<usize>,
    /// What is added to the diagonal of the Gram matrix, relative to its mean. Raised where the sum
    /// has no Cholesky factor.
    pub damping: f64,
    /// Whether codes and scales are gone over again.
    pub descent: Option<Descent>,
}

/// How the weights make up for inputs that have changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Correction {
    /// They do not.
    None,
    /// Weights `W` are replaced by `W + share * (W D + R) H^-1` before anything else, with `H` the
    /// damped Gram matrix, `D` the cross moments (QEP, 2504.09629) and `R` those of the stream that
    /// outputs are added to, where the moments have them.
    Whole {
        /// The part of the correction that is made: with one, damped least squares.
        share: f64,
    },
}

/// Coordinate descent (CDQuant, 2406.17542) in turns with the best scales for the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descent {
    /// How many times scales, then codes, are gone over.
    pub rounds: usize,
}

impl Settings {
    /// The names that [`Settings::named`] knows.
    pub const NAMES: &[&str] = &["gptq", "gptq+cd", "qep", "qep+cd"];

    /// The settings of a method.
    pub fn named(name: &str) -> Option<Self> {
        let (base, descends) = match name.strip_suffix("+cd") {
            Some(base) => (base, true),
            None => (name, false),
        };
        let correction = match base {
            "gptq" => Correction::None,
            "qep" => Correction::Whole { share: 0.5 },
            _ => return None,
        };
        let descent = descends.then_some(Descent { rounds: 2 });
        Some(Self { correction, act_order: true, group: None, damping: 0.01, descent })
    }

    /// These settings with an order of columns that suits the scheme.
    pub fn on(self, scheme: &Scheme) -> Self {
        let group = match scheme.granularity {
            Granularity::Group(size) => Some(size),
            Granularity::Channel | Granularity::Block { .. } => None,
        };
        Self { group, ..self }
    }

    /// Whether a solver that was prepared for these settings serves the others, too.
    pub fn shares_solver(&self, other: &Self) -> bool {
        let Self { correction, descent, .. } = *other;
        Self { correction, descent, ..*self } == *other
    }

    /// Whether cross moments are asked for.
    pub fn needs_cross(&self) -> bool {
        self.correction != Correction::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_settings_of_its_own() {
        let all: Vec<_> = Settings::NAMES.iter().map(|name| Settings::named(name)).collect();
        for (index, settings) in all.iter().enumerate() {
            assert!(settings.is_some() && !all[..index].contains(settings));
        }
        for unknown in ["", "+cd", "gptq+cd+cd", "search", "GPTQ"] {
            assert_eq!(Settings::named(unknown), None);
        }
    }
}
