//! What is asked for: number format, granularity, symmetry, and how activations run.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A quantization scheme. It serialises to the recipe and to the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scheme {
    /// How a weight's code is read.
    pub weights: Numeric,
    /// Which weights share a scale.
    pub granularity: Granularity,
    /// Whether zero points are all zero.
    pub symmetric: bool,
    /// What the runtime does to a linear's inputs.
    pub activations: Activations,
}

/// Number format of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Numeric {
    /// A two's complement integer.
    Int {
        /// Width, 2 to 8.
        bits: u8,
    },
    /// An eight-bit float with four bits of exponent and three of significand.
    E4m3,
}

/// Which weights of a matrix share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// A row: one output channel.
    Channel,
    /// So many consecutive columns of a row. They divide it.
    Group(usize),
    /// A rectangle. The last ones of a row or column may be smaller.
    Block {
        /// Height.
        rows: usize,
        /// Width.
        columns: usize,
    },
}

/// What the runtime does to a linear's inputs before it multiplies. Scales are computed as it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activations {
    /// Nothing: weights alone are quantized.
    None,
    /// Symmetric int8, a scale per token.
    Int8Token,
    /// E4M3, a scale per token.
    Fp8Token,
    /// E4M3, a scale per so many consecutive features of a token.
    Fp8Group(usize),
}

/// A name that is no scheme.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scheme `{0}`; there are {list}", list = Scheme::NAMES.join(", "))]
pub struct UnknownPreset(pub String);

impl Scheme {
    /// The names that [`Scheme::preset`] knows.
    pub const NAMES: &[&str] = &[
        "w8a16",
        "w7a16",
        "w6a16",
        "w5a16",
        "w4a16",
        "w3a16",
        "w2a16",
        "w8a8",
        "fp8",
        "fp8-block",
    ];

    /// The symmetric scheme called `name`. Granularity of `w7a16` and below is left at a group of 128.
    ///
    /// # Errors
    /// [`UnknownPreset`], which lists the names there are.
    pub fn preset(name: &str) -> Result<Self, UnknownPreset> {
        let int = |bits| Numeric::Int { bits };
        let block = Granularity::Block { rows: 128, columns: 128 };
        let (weights, granularity, activations) = match name {
            "w8a16" => (int(8), Granularity::Channel, Activations::None),
            "w7a16" => (int(7), Granularity::Group(128), Activations::None),
            "w6a16" => (int(6), Granularity::Group(128), Activations::None),
            "w5a16" => (int(5), Granularity::Group(128), Activations::None),
            "w4a16" => (int(4), Granularity::Group(128), Activations::None),
            "w3a16" => (int(3), Granularity::Group(128), Activations::None),
            "w2a16" => (int(2), Granularity::Group(128), Activations::None),
            "w8a8" => (int(8), Granularity::Channel, Activations::Int8Token),
            "fp8" => (Numeric::E4m3, Granularity::Channel, Activations::Fp8Token),
            "fp8-block" => (Numeric::E4m3, block, Activations::Fp8Group(128)),
            _ => return Err(UnknownPreset(name.to_owned())),
        };
        Ok(Self { weights, granularity, symmetric: true, activations })
    }

    /// The field's name for it, without granularity: `w4a16`, `w8a8`, `fp8`, `fp8-block`.
    pub fn name(&self) -> String {
        match (self.weights, self.activations) {
            (Numeric::Int { bits }, Activations::None) => format!("w{bits}a16"),
            (Numeric::Int { bits }, Activations::Int8Token) => format!("w{bits}a8"),
            (Numeric::Int { bits }, _) => format!("w{bits}afp8"),
            (Numeric::E4m3, Activations::None) => "fp8a16".to_owned(),
            (Numeric::E4m3, Activations::Int8Token) => "fp8a8".to_owned(),
            (Numeric::E4m3, Activations::Fp8Token) => "fp8".to_owned(),
            (Numeric::E4m3, Activations::Fp8Group(_)) => "fp8-block".to_owned(),
        }
    }
}

impl Numeric {
    /// Bits of a code.
    pub const fn bits(self) -> usize {
        match self {
            Self::Int { bits } => bits as usize,
            Self::E4m3 => 8,
        }
    }
}

/// `w4a16 g128`, `w8a16 asymmetric`
impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        if let Granularity::Group(size) = self.granularity {
            write!(f, " g{size}")?;
        }
        if !self.symmetric {
            f.write_str(" asymmetric")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_named_as_it_was_asked_for() {
        for &name in Scheme::NAMES {
            assert_eq!(Scheme::preset(name).expect("a preset").name(), name);
        }
        let error = Scheme::preset("w5a5").expect_err("no such scheme").to_string();
        assert_eq!(
            error,
            "there is no scheme `w5a5`; there are w8a16, w7a16, w6a16, w5a16, w4a16, w3a16, w2a16, \
             w8a8, fp8, fp8-block"
        );
    }
}
