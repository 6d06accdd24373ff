//! Why a config and a list of tensors are no model.

use llmopt_tensor::Dtype;

/// Why a checkpoint could not be bound. Each names the tensor or the config key; what may help is
/// in [`BindError::hint`].
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A family that is known and cannot be quantized.
    #[error("family `{family}` {reason}")]
    Refused {
        /// The `model_type` or architecture in the config.
        family: String,
        /// The end of the sentence.
        reason: &'static str,
    },
    /// A matrix that is stored with its input features along the rows.
    #[error(
        "tensor `{tensor}` is stored transposed (Conv1D), which compressed-tensors cannot express"
    )]
    Transposed {
        /// The tensor.
        tensor: String,
    },
    /// A value in the config has the wrong type or is out of range.
    #[error("`{key}` in `config.json` is {found}, expected {expected}")]
    Config {
        /// The key, with dots.
        key: String,
        /// The value, as JSON.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A config of a family lacks a size.
    #[error("`{key}` is missing in `config.json`, and `{family}` has no default for it")]
    ConfigMissing {
        /// The key, with dots.
        key: String,
        /// The family.
        family: &'static str,
    },
    /// A variant of the family that its data does not describe.
    #[error("`{key}` in `config.json` is {found}, but `{family}` expects {expected}")]
    Variant {
        /// The key, with dots.
        key: String,
        /// The value, as JSON.
        found: String,
        /// The family.
        family: &'static str,
        /// The values that the family's data holds for.
        expected: String,
    },
    /// A model without a forward pass: its family is unknown.
    #[error("the forward pass of `{family}` is not known")]
    Program {
        /// The `model_type` in the config, or what stands for it.
        family: String,
    },
    /// A model of a known family that cannot be run as it was saved.
    #[error(
        "tensor `{tensor}` stacks the experts of `{family}`, expected tensors of each expert: as it is \
         stored, the model can be quantized, but not run"
    )]
    Stacked {
        /// The first stack.
        tensor: String,
        /// The family.
        family: &'static str,
    },
    /// The sizes in the config multiply to more than any tensor can hold.
    #[error("the sizes in `config.json` are absurd: the shape of `{tensor}` overflows")]
    Overflow {
        /// The tensor that would have the shape.
        tensor: String,
        /// The sizes involved.
        hint: Option<String>,
    },
    /// A shape that disagrees with the config.
    #[error("tensor `{tensor}` has shape {found:?}, but `{family}` expects {expected:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The family.
        family: &'static str,
        /// The shape that follows from the config.
        expected: Vec<usize>,
        /// The keys responsible.
        hint: Option<String>,
    },
    /// A weight or a bias of a module that the family has without it.
    #[error("tensor `{tensor}` is there, but `{family}` has `{module}` without it")]
    Surplus {
        /// The tensor.
        tensor: String,
        /// Its module.
        module: String,
        /// The family.
        family: &'static str,
        /// What loaders do, and what the config may lack.
        hint: String,
    },
    /// A tensor without which the family does not run.
    #[error("tensor `{tensor}` is missing, which `{family}` expects")]
    Missing {
        /// The tensor.
        tensor: String,
        /// The family.
        family: &'static str,
        /// The key responsible.
        hint: Option<String>,
    },
    /// A weight that is not a float.
    #[error("tensor `{tensor}` has dtype {dtype}, expected F32, F16 or BF16")]
    SiteDtype {
        /// The tensor.
        tensor: String,
        /// Its dtype.
        dtype: Dtype,
    },
    /// An F8_E4M3 weight without block scales.
    #[error(
        "tensor `{tensor}` has dtype F8_E4M3, but neither `{tensor}_scale_inv` nor `{tensor}_scale` is there"
    )]
    ScaleMissing {
        /// The weight.
        tensor: String,
    },
    /// Block scales of the wrong number or type.
    #[error(
        "tensor `{tensor}` is {found}, expected F32, F16 or BF16 {expected:?} for blocks of {block:?}"
    )]
    ScaleShape {
        /// The scale tensor.
        tensor: String,
        /// Its dtype and shape.
        found: String,
        /// The shape that follows from the weight and the block.
        expected: [usize; 2],
        /// Rows and columns of a block.
        block: [usize; 2],
    },
}

impl BindError {
    /// The tensor that is wrong, for whoever knows its file.
    pub fn tensor(&self) -> Option<&str> {
        match self {
            Self::Transposed { tensor }
            | Self::Overflow { tensor, .. }
            | Self::Shape { tensor, .. }
            | Self::Missing { tensor, .. }
            | Self::Surplus { tensor, .. }
            | Self::SiteDtype { tensor, .. }
            | Self::ScaleMissing { tensor }
            | Self::Stacked { tensor, .. }
            | Self::ScaleShape { tensor, .. } => Some(tensor),
            Self::Refused { .. }
            | Self::Config { .. }
            | Self::ConfigMissing { .. }
            | Self::Variant { .. }
            | Self::Program { .. } => None,
        }
    }

    /// What may help.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Surplus { hint, .. } => Some(hint),
            Self::Overflow { hint, .. } | Self::Shape { hint, .. } | Self::Missing { hint, .. } => {
                hint.as_deref()
            }
            Self::Program { .. } => {
                Some("checkpoints of unknown families are quantized by names and shapes alone")
            }
            Self::Stacked { .. } => Some(
                "Transformers saves tensors of each expert with `save_pretrained(..., \
                 save_original_format=True)`, its default",
            ),
            Self::SiteDtype { .. } => Some("is this checkpoint already quantized?"),
            Self::ScaleShape { .. } => {
                Some("`quantization_config.weight_block_size` in `config.json` gives the block")
            }
            Self::Refused { .. }
            | Self::Transposed { .. }
            | Self::Config { .. }
            | Self::ConfigMissing { .. }
            | Self::Variant { .. }
            | Self::ScaleMissing { .. } => None,
        }
    }
}
