//! Block scales of F8_E4M3 weights, as fine-grained FP8 checkpoints have them.

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

/// The scales of every F8_E4M3 weight that has a `weight_scale_inv`, by the weight's name.
pub(crate) fn block_scales(
    config: Option<ConfigView<'_>>,
    tensors: &BTreeMap<String, TensorMeta>,
) -> Result<BTreeMap<String, BlockScale>, BindError> {
    let mut scales = BTreeMap::new();
    let f8 = tensors.iter().filter(|(_, meta)| meta.dtype() == Dtype::F8E4M3);
    for (weight, meta) in f8 {
        let tensor = format!("{weight}_scale_inv");
        let (Some(scale), &[rows, columns]) = (tensors.get(&tensor), meta.shape()) else {
            continue;
        };
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
