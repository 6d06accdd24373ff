//! Why a model cannot be pruned along an axis, or not to a shape.

use super::axis::Axis;
use crate::BindError;

/// Why an axis or a shape is refused. Each names the axis, and what stands in its way.
#[derive(Debug, thiserror::Error)]
pub enum AxisError {
    /// Names and shapes were all there was.
    #[error("axis `{axis}` cannot be pruned: the structure of `{family}` is not known")]
    Unknown {
        /// The axis.
        axis: Axis,
        /// The `model_type` in the config, or what stands for it.
        family: String,
    },
    /// The family's file has no such axis.
    #[error("`{family}` has no axis `{axis}`")]
    Lacks {
        /// The axis.
        axis: Axis,
        /// The family.
        family: &'static str,
    },
    /// Codes and scales cannot be cut as weights can.
    #[error("axis `{axis}` cannot be pruned: the checkpoint is quantized already ({place})")]
    Quantized {
        /// The axis.
        axis: Axis,
        /// The key or tensor that says so.
        place: String,
    },
    /// The model runs nowhere as it is.
    #[error("axis `{axis}` cannot be pruned: {source}")]
    Program {
        /// The axis.
        axis: Axis,
        /// Why it has no forward pass.
        source: BindError,
    },
    /// A runtime could not be told.
    #[error("axis `{axis}` of `{family}` cannot be pruned: {reason}")]
    Runtime {
        /// The axis.
        axis: Axis,
        /// The family.
        family: &'static str,
        /// Which, and what it does.
        reason: &'static str,
    },
    /// A norm whose statistics would change with what is removed.
    #[error("axis `{axis}` of `{family}` cannot be pruned: `{norm}` normalizes over all of it")]
    Norm {
        /// The axis.
        axis: Axis,
        /// The family.
        family: &'static str,
        /// The module below the layer.
        norm: &'static str,
    },
    /// Layers of which the number decides what they are.
    #[error(
        "axis `layers` of `{family}` cannot be pruned: `{key}` in `config.json` is {step}, so that \
         a layer's number says whether it has experts"
    )]
    Step {
        /// The family.
        family: &'static str,
        /// The config key.
        key: &'static str,
        /// Its value.
        step: usize,
    },
    /// Units that do not lie together.
    #[error(
        "axis `{axis}` of `{family}` cannot be pruned: no unit of it can be cut out of `{tensor}`"
    )]
    Uncut {
        /// The axis.
        axis: Axis,
        /// The family.
        family: &'static str,
        /// The tensor.
        tensor: String,
    },
    /// There is nothing smaller that loaders accept.
    #[error(
        "axis `{axis}` of `{family}` cannot be pruned: `{key}` is {count}, and loaders accept no \
         smaller number"
    )]
    Smallest {
        /// The axis.
        axis: Axis,
        /// The family.
        family: &'static str,
        /// The config key.
        key: &'static str,
        /// Its value.
        count: usize,
    },
    /// A number of units that no loader accepts.
    #[error("`{key}` cannot become {wanted}: expected {expected}")]
    Count {
        /// The config key.
        key: &'static str,
        /// The number.
        wanted: usize,
        /// What it can be.
        expected: String,
    },
    /// Layers that are not some of the model's in their order.
    #[error("layers {found:?} cannot be kept: expected some of {layers}, ascending")]
    Layers {
        /// The numbers.
        found: Vec<usize>,
        /// How many there are.
        layers: usize,
    },
}

impl AxisError {
    /// What may help.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Unknown { .. } => {
                Some("names and shapes alone do not tell which tensors change together")
            }
            Self::Quantized { .. } => Some("prune first, then quantize"),
            Self::Program { source, .. } => source.hint(),
            _ => None,
        }
    }
}
