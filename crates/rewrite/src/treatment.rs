//! What becomes of a tensor.

use llmopt_scheme::Scheme;
use std::fmt;

/// How an output tensor comes from the tensor of the source that it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Copied byte for byte.
    Keep,
    /// Stored as codes and scales.
    Quantize(Scheme),
    /// Stored as ordinary weights: dequantized from the source's blocks, and quantized and
    /// dequantized again if there is a scheme.
    Dense(Option<Scheme>),
    /// Stored as before, but with channels divided by scales or multiplied.
    Smooth,
    /// Some of its rows or columns stay, as they were.
    Slice,
    /// What stays of it has other values.
    Refit,
    /// New, and all zeros: loaders want it beside a tensor that is refitted.
    Zero,
    /// Not stored, because it went into another tensor.
    Omit {
        /// The tensor that absorbed it.
        into: String,
    },
}

impl Treatment {
    /// The scheme of its codes, if it gets any.
    pub fn scheme(&self) -> Option<Scheme> {
        match self {
            Self::Quantize(scheme) | Self::Dense(Some(scheme)) => Some(*scheme),
            _ => None,
        }
    }

    /// Whether nothing has to be observed, nor anything decided, to know its bytes.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Keep | Self::Zero)
    }

    /// Whether it is written as bytes, whatever they mean: its rows are bytes, too.
    pub(crate) fn is_of_bytes(&self) -> bool {
        matches!(self, Self::Keep | Self::Slice | Self::Refit | Self::Zero | Self::Omit { .. })
    }
}

/// `kept`, `w4a16 g128`, `w4a16 g128, dequantized`, `dequantized`, `sliced`, `merged into ...`
impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("kept"),
            Self::Zero => f.write_str("zeros"),
            Self::Quantize(scheme) => scheme.fmt(f),
            Self::Dense(Some(scheme)) => write!(f, "{scheme}, dequantized"),
            Self::Dense(None) => f.write_str("dequantized"),
            Self::Smooth => f.write_str("smoothed"),
            Self::Slice => f.write_str("sliced"),
            Self::Refit => f.write_str("refitted"),
            Self::Omit { into } => write!(f, "merged into {into}"),
        }
    }
}
