//! What scales are fitted to.

use crate::QuantError;
use crate::stored::Stored;
use llmopt_scheme::{Levels, Numeric, Scheme};
use llmopt_tensor::Dtype;

/// What a scheme and a dtype ask of every tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) levels: Levels,
    pub(crate) stored: Stored,
    pub(crate) symmetric: bool,
}

/// What a tile gets: its scale, as stored, and its zero point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Affine {
    pub(crate) scale: f32,
    pub(crate) zero: i8,
}

impl Target {
    pub(crate) fn new(scheme: &Scheme, scale_dtype: Dtype) -> Result<Self, QuantError> {
        let (levels, symmetric) = (Levels::new(scheme.weights), scheme.symmetric);
        let farthest = match scheme.weights {
            Numeric::E4m3 if !symmetric => return Err(QuantError::FloatZeroPoint),
            Numeric::E4m3 => levels.half_range(),
            Numeric::Int { .. } if symmetric => levels.half_range() + 0.5,
            Numeric::Int { .. } => levels.half_range() * 2.0,
        };
        Ok(Self { levels, stored: Stored::new(scale_dtype, farthest)?, symmetric })
    }
}
