//! Scales of F8_E4M3 weights, as FP8 checkpoints have them: of blocks, of rows, or of a whole tensor.

use crate::BindError;
use crate::config::ConfigView;
use llmopt_tensor::{Dtype, TensorMeta};
use serde_json::Value;
use std::collections::BTreeMap;

/// The scales of one F8_E4M3 weight. An element of the weight is its stored value times the scale of
/// its block; blocks at the lower and right edge may be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockScale {
    /// The tensor that holds the scales, `[blocks down, blocks across]`.
    pub tensor: String,
    /// Rows of a block.
    pub rows: usize,
    /// Columns of a block.
    pub columns: usize,
}

/// The weight that a tensor scales: as `weight_scale_inv` or `weight_scale`, or as `input_scale` its
/// inputs. The weight itself need not be there.
pub fn scaled_weight(tensor: &str) -> Option<String> {
    let weight = tensor.strip_suffix("_scale_inv").or_else(|| tensor.strip_suffix("_scale"))?;
    let module = weight.strip_suffix(".weight").or_else(|| weight.strip_suffix(".input"))?;
    Some(format!("{module}.weight"))
}

/// The scales of every F8_E4M3 weight that has a `weight_scale_inv` or a `weight_scale`, by the weight's
/// name. Both are multiplied with what is stored; the second may also be of rows, or of the whole tensor.
pub(crate) fn block_scales(
    config: Option<ConfigView<'_>>,
    tensors: &BTreeMap<String, TensorMeta>,
) -> Result<BTreeMap<String, BlockScale>, BindError> {
    let mut scales = BTreeMap::new();
    let f8 = tensors.iter().filter(|(_, meta)| meta.dtype() == Dtype::F8E4M3);
    for (weight, meta) in f8 {
        let names = [format!("{weight}_scale_inv"), format!("{weight}_scale")];
        let found = names.into_iter().find_map(|name| tensors.get(&name).map(|meta| (name, meta)));
        let (Some((tensor, scale)), &[rows, columns]) = (found, meta.shape()) else { continue };
        let is_coarse = tensor.ends_with("_scale") && scale.dtype().is_plain_float();
        if let (true, Some([rows, columns])) = (is_coarse, coarse(scale.shape(), [rows, columns])) {
            scales.insert(weight.clone(), BlockScale { tensor, rows, columns });
            continue;
        }
        let block = block_size(config)?;
        let expected = [rows.div_ceil(block[0]), columns.div_ceil(block[1])];
        if scale.shape() != expected || !scale.dtype().is_plain_float() {
            return Err(BindError::ScaleShape {
                tensor,
                found: scale.to_string(),
                expected,
                block,
            });
        }
        scales.insert(weight.clone(), BlockScale { tensor, rows: block[0], columns: block[1] });
    }
    Ok(scales)
}

/// What each scale is of, if there is one in all or one for each row.
fn coarse(scales: &[usize], [rows, columns]: [usize; 2]) -> Option<[usize; 2]> {
    match *scales {
        [] | [1] | [1, 1] => Some([rows.max(1), columns.max(1)]),
        [count] | [count, 1] if count == rows => Some([1, columns.max(1)]),
        _ => None,
    }
}

/// Rows and columns of a block: from the config, or the only size in use where there is none.
fn block_size(config: Option<ConfigView<'_>>) -> Result<[usize; 2], BindError> {
    const KEY: &str = "quantization_config.weight_block_size";
    let Some(value) = config.and_then(|config| config.get(KEY)) else { return Ok([128, 128]) };
    let size = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok());
    match value.as_array().map(|sizes| sizes.iter().filter_map(size).collect::<Vec<_>>()).as_deref()
    {
        Some(&[rows, columns]) if rows > 0 && columns > 0 => Ok([rows, columns]),
        _ => Err(BindError::Config {
            key: KEY.into(),
            found: crate::config::shown(value),
            expected: "two whole numbers of at least 1",
        }),
    }
}
