//! What quantizing makes of a band: bytes in, bytes of the stored tensors out.

use crate::plan::Plan;
use llmopt_codec::for_scheme;
use llmopt_model::Rows;
use llmopt_model::nonfinite::{first_in, matters};
use llmopt_quant::QuantError;
use llmopt_rewrite::{Band, BandRewriter, Planned, Stored, Treatment};
use llmopt_run::{Error, NonFinite};
use llmopt_scheme::{QuantizedMatrix, Scheme};
use llmopt_tensor::encode;
use ndarray::ArrayView2;
use std::borrow::Cow;

impl BandRewriter for Plan {
    fn rewritten<'b>(
        &self,
        band: &Band<'_>,
        bytes: &'b [u8],
        weights: &mut Vec<f32>,
    ) -> Result<Stored<'b>, Error> {
        QuantizedBand { plan: self, band }.rewritten(bytes, weights)
    }
}

/// A band that a plan quantizes.
pub(crate) struct QuantizedBand<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) band: &'a Band<'a>,
}

impl QuantizedBand<'_> {
    /// Rewrites the band; `bytes` are those that were read, `weights` is room to work in.
    pub(crate) fn rewritten<'b>(
        &self,
        bytes: &'b [u8],
        weights: &mut Vec<f32>,
    ) -> Result<Stored<'b>, Error> {
        match &self.planned().tensor.treatment {
            Treatment::Keep | Treatment::Slice | Treatment::Refit | Treatment::Zero => {
                self.refuse_not_finite(bytes)?;
                Ok(Stored::lossless(vec![Cow::Borrowed(bytes)]))
            }
            Treatment::Omit { .. } => {
                self.refuse_not_finite(bytes)?;
                Ok(Stored::lossless(Vec::new()))
            }
            Treatment::Smooth => {
                self.refuse_not_finite(bytes)?;
                self.decode(bytes, weights)?;
                self.refuse_out_of_range(weights)?;
                Ok(Stored::lossless(vec![self.stored(weights)]))
            }
            Treatment::Dense(None) => {
                self.refuse_not_finite(bytes)?;
                self.decode(bytes, weights)?;
                Ok(Stored::lossless(vec![self.stored(weights)]))
            }
            Treatment::Quantize(scheme) | Treatment::Dense(Some(scheme)) => {
                self.decode(bytes, weights)?;
                self.coded(&self.quantized(weights, scheme)?, scheme, weights)
            }
        }
    }

    /// The band as the codes of `matrix` store it, and what they lose of `weights`.
    pub(crate) fn coded(
        &self,
        matrix: &QuantizedMatrix,
        scheme: &Scheme,
        weights: &[f32],
    ) -> Result<Stored<'static>, Error> {
        let parts = self.encoded(matrix, scheme)?;
        let error = matrix.squared_error(weights);
        let parts = match self.planned().tensor.treatment {
            Treatment::Dense(_) => {
                let mut values = vec![0.0; weights.len()];
                matrix.dequantize_into(&mut values);
                vec![self.stored(&values)]
            }
            _ => parts.into_iter().map(Cow::Owned).collect(),
        };
        Ok(Stored { parts, error })
    }

    /// The band as f32, `[rows, columns]`; block scales are multiplied in, and so are those of channels.
    fn decode(&self, bytes: &[u8], weights: &mut Vec<f32>) -> Result<(), Error> {
        let Planned { tensor, shard, .. } = self.planned();
        let entry = self.band.plan.source_entry(&self.planned()).expect("a plan of the source");
        let rows = Rows {
            source: &self.plan.source,
            shard: self.band.plan.source_of(shard),
            entry,
            block_scale: tensor.block_scale.as_ref(),
            columns: tensor.columns,
            rows: self.band.rows.clone(),
        };
        rows.weights_into(bytes, weights)?;
        if let Some(smoothing) = self.plan.smoothing.as_ref().and_then(|found| found.decided()) {
            smoothing.apply(
                self.planned().named.name,
                self.band.rows.clone(),
                tensor.columns,
                weights,
            );
        }
        Ok(())
    }

    /// Quantizes with what the weights alone tell.
    fn quantized(&self, weights: &[f32], scheme: &Scheme) -> Result<QuantizedMatrix, Error> {
        let (rows, columns) = (self.band.rows.len(), self.planned().tensor.columns);
        let view = ArrayView2::from_shape((rows, columns), weights).map_err(|error| {
            Error::Refused(format!("tensor `{}`: {error}", self.planned().named.name))
        })?;
        let quantizer = self.plan.recipe.method.quantizer();
        let matrix = quantizer.quantize(view, scheme, self.planned().tensor.scale_dtype);
        matrix.map_err(|error| self.explained(error))
    }

    /// Encodes, and proves that the bytes decode to what was quantized.
    fn encoded(&self, matrix: &QuantizedMatrix, scheme: &Scheme) -> Result<Vec<Vec<u8>>, Error> {
        let (rows, columns) = (self.band.rows.len(), self.planned().tensor.columns);
        let scale_dtype = self.planned().tensor.scale_dtype;
        let codec = for_scheme(scheme);
        let parts = codec.encode(matrix, self.planned().tensor.rows, scale_dtype);
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        match codec.decode(scheme, scale_dtype, rows, columns, &slices) {
            Ok(decoded) if decoded == *matrix => Ok(parts),
            Ok(_) => Err(self.unsound("its bytes decode to other codes or scales".to_owned())),
            Err(error) => Err(self.unsound(error.to_string())),
        }
    }

    /// Weights as a dense tensor stores them.
    fn stored(&self, weights: &[f32]) -> Cow<'static, [u8]> {
        let dtype = self.planned().tensor.dense_dtype;
        let mut bytes = vec![0; weights.len() * dtype.bits() / 8];
        encode(dtype, weights, &mut bytes).expect("the plan chose a type to compute with");
        Cow::Owned(bytes)
    }

    /// Which weight of which tensor it is about.
    pub(crate) fn explained(&self, error: QuantError) -> Error {
        match error {
            QuantError::NotFinite { row, column, value } => self.not_finite(NonFinite {
                tensor: self.planned().named.name.to_owned(),
                position: vec![self.band.rows.start + row, column],
                value: value.to_string(),
            }),
            other => Error::Refused(format!("tensor `{}`: {other}", self.planned().named.name)),
        }
    }

    /// Looks at what is copied or multiplied by its scales, unless all of it was looked at already.
    fn refuse_not_finite(&self, bytes: &[u8]) -> Result<(), Error> {
        let Planned { tensor, named, .. } = self.planned();
        if self.plan.recipe.allow_nonfinite || !matters(&self.plan.model, named.name) {
            return Ok(());
        }
        let Some(entry) = self.band.plan.source_entry(&self.planned()) else { return Ok(()) };
        let begin = tensor.source_range(&self.band.rows, named.meta).start;
        first_in(entry, begin, bytes).map_or(Ok(()), |found| Err(self.not_finite(found)))
    }

    /// Scales must not drive what was finite out of the range of the type that stores it.
    fn refuse_out_of_range(&self, weights: &[f32]) -> Result<(), Error> {
        let is_lost = weights.iter().any(|weight| !weight.is_finite());
        match is_lost && !self.plan.recipe.allow_nonfinite {
            true => Err(Error::RefusedWithHint {
                what: format!(
                    "tensor `{}`: its scales drive it out of the range of {}",
                    self.planned().named.name,
                    self.planned().tensor.dense_dtype
                ),
                hint: "leave `--smooth` out, or give it a strength nearer to 0".to_owned(),
            }),
            false => Ok(()),
        }
    }

    fn not_finite(&self, found: NonFinite) -> Error {
        Error::NotFinite {
            found,
            file: self.band.plan.source_of(self.planned().shard).name.clone(),
            may_be_kept: true,
        }
    }

    fn unsound(&self, message: String) -> Error {
        let subject = self.planned().named.name.to_owned();
        Error::Unsound(vec![llmopt_run::Fault { code: "round-trip", subject, message }])
    }

    fn planned(&self) -> Planned<'_> {
        self.band.planned
    }
}
