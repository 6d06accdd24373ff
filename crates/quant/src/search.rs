//! Scale search: the scale at which a tile's squared error is least.

use crate::band::{Affine, Fit, Target, Tile, quantized};
use crate::extent::Extent;
use crate::nearest::absmax;
use crate::{QuantError, Quantizer};
use llmopt_scheme::{QuantizedMatrix, Scheme};
use llmopt_tensor::Dtype;
use ndarray::ArrayView2;

/// Error-minimizing scales, `search`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Search;

impl Quantizer for Search {
    fn name(&self) -> &'static str {
        "search"
    }

    fn working_bytes(&self, _rows: usize, _columns: usize, _scheme: &Scheme) -> usize {
        0
    }

    fn quantize(
        &self,
        weights: ArrayView2<'_, f32>,
        scheme: &Scheme,
        scale_dtype: Dtype,
    ) -> Result<QuantizedMatrix, QuantError> {
        quantized(weights, scheme, scale_dtype, *self)
    }
}

impl Fit for Search {
    #[inline(always)]
    fn fit(&mut self, _: &Tile<'_>, extent: Extent, target: Target) -> Affine {
        absmax(extent, target)
    }
}
