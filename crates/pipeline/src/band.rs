//! What happens to one band: bytes in, bytes of the output tensors out.

use crate::place::{Action, Place};
use crate::weights::Rows;
use crate::{Error, Plan, Scheme};
use llmopt_checkpoint::{HeaderEntry, Shard};
use llmopt_codec::for_scheme;
use llmopt_quant::QuantError;
use llmopt_scheme::{QuantizedMatrix, SquaredError};
use llmopt_tensor::encode;
use ndarray::ArrayView2;
use std::borrow::Cow;
use std::ops::Range;

/// A band to be rewritten.
pub(crate) struct Band<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) shard: &'a Shard,
    pub(crate) entry: &'a HeaderEntry,
    pub(crate) place: &'a Place,
    pub(crate) rows: Range<usize>,
}

/// A band as it will be stored: the bytes of each part, and what they lost.
pub(crate) struct Rewritten<'a> {
    pub(crate) parts: Vec<Cow<'a, [u8]>>,
    pub(crate) error: SquaredError,
}

impl<'a> Band<'a> {
    /// Reads the band's bytes into `bytes`, which is resized.
    pub(crate) fn read(&self, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let range = self.place.source_range(&self.rows, &self.entry.meta);
        bytes.resize((range.end - range.start) as usize, 0);
        Ok(self.shard.read_tensor(self.entry, range, bytes)?)
    }

    /// Rewrites the band; `bytes` are those that were read, `weights` is room to work in.
    pub(crate) fn rewritten(
        &self,
        bytes: &'a [u8],
        weights: &mut Vec<f32>,
    ) -> Result<Rewritten<'a>, Error> {
        match &self.place.action {
            Action::Keep => Ok(lossless(vec![Cow::Borrowed(bytes)])),
            Action::Omit { .. } => Ok(lossless(Vec::new())),
            Action::Dense(None) => {
                self.decode(bytes, weights)?;
                Ok(lossless(vec![self.stored(weights)]))
            }
            Action::Quantize(scheme) => {
                self.decode(bytes, weights)?;
                let (matrix, parts) = self.encoded(weights, scheme)?;
                let error = matrix.squared_error(weights);
                Ok(Rewritten { parts: parts.into_iter().map(Cow::Owned).collect(), error })
            }
            Action::Dense(Some(scheme)) => {
                self.decode(bytes, weights)?;
                let (matrix, _) = self.encoded(weights, scheme)?;
                let error = matrix.squared_error(weights);
                matrix.dequantize_into(weights);
                Ok(Rewritten { parts: vec![self.stored(weights)], error })
            }
        }
    }

    /// The band as f32, `[rows, columns]`; block scales are multiplied in.
    fn decode(&self, bytes: &[u8], weights: &mut Vec<f32>) -> Result<(), Error> {
        let rows = Rows {
            source: &self.plan.source,
            shard: self.shard,
            entry: self.entry,
            block_scale: self.place.block_scale.as_ref(),
            columns: self.place.columns,
            rows: self.rows.clone(),
        };
        rows.weights_into(bytes, weights)
    }

    /// Quantizes and encodes, and proves that the encoded bytes decode to what was quantized.
    fn encoded(
        &self,
        weights: &[f32],
        scheme: &Scheme,
    ) -> Result<(QuantizedMatrix, Vec<Vec<u8>>), Error> {
        let (rows, columns) = (self.rows.len(), self.place.columns);
        let scale_dtype = self.place.scale_dtype;
        let view = ArrayView2::from_shape((rows, columns), weights)
            .map_err(|error| Error::Refused(format!("tensor `{}`: {error}", self.entry.name)))?;
        let quantizer = self.plan.recipe.method.quantizer();
        let matrix =
            quantizer.quantize(view, scheme, scale_dtype).map_err(|error| self.explained(error))?;
        let codec = for_scheme(scheme);
        let parts = codec.encode(&matrix, self.place.rows, scale_dtype);
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        match codec.decode(scheme, scale_dtype, rows, columns, &slices) {
            Ok(decoded) if decoded == matrix => Ok((matrix, parts)),
            Ok(_) => Err(self.unsound("its bytes decode to other codes or scales".to_owned())),
            Err(error) => Err(self.unsound(error.to_string())),
        }
    }

    /// Weights as a dense tensor stores them.
    fn stored(&self, weights: &[f32]) -> Cow<'a, [u8]> {
        let dtype = self.place.dense_dtype;
        let mut bytes = vec![0; weights.len() * dtype.bits() / 8];
        encode(dtype, weights, &mut bytes).expect("the plan chose a type to compute with");
        Cow::Owned(bytes)
    }

    fn explained(&self, error: QuantError) -> Error {
        match error {
            QuantError::NotFinite { row, column, value } => Error::NotFinite {
                tensor: self.entry.name.clone(),
                file: self.shard.name.clone(),
                row: self.rows.start + row,
                column,
                value,
            },
            other => Error::Refused(format!("tensor `{}`: {other}", self.entry.name)),
        }
    }

    fn unsound(&self, message: String) -> Error {
        let subject = self.entry.name.clone();
        Error::Unsound(vec![crate::Fault { code: "round-trip", subject, message }])
    }
}

fn lossless(parts: Vec<Cow<'_, [u8]>>) -> Rewritten<'_> {
    Rewritten { parts, error: SquaredError::default() }
}
