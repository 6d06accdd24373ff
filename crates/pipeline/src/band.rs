//! What happens to one band: bytes in, bytes of the output tensors out.

use crate::fingerprint::fingerprint;
use crate::place::{Action, Place};
use crate::plan::Plan;
use llmopt_checkpoint::{HeaderEntry, OutFile, Shard};
use llmopt_codec::for_scheme;
use llmopt_model::Rows;
use llmopt_model::nonfinite::{first_in, matters};
use llmopt_quant::QuantError;
use llmopt_run::{Error, NonFinite};
use llmopt_scheme::{QuantizedMatrix, Scheme, SquaredError};
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
    /// How many bytes [`Band::read`] reads.
    pub(crate) fn source_bytes(&self) -> u64 {
        let range = self.place.source_range(&self.rows, &self.entry.meta);
        range.end - range.start
    }

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
            Action::Keep => {
                self.refuse_not_finite(bytes)?;
                Ok(lossless(vec![Cow::Borrowed(bytes)]))
            }
            Action::Omit { .. } => {
                self.refuse_not_finite(bytes)?;
                Ok(lossless(Vec::new()))
            }
            Action::Smooth => {
                self.refuse_not_finite(bytes)?;
                self.decode(bytes, weights)?;
                self.refuse_out_of_range(weights)?;
                Ok(lossless(vec![self.stored(weights)]))
            }
            Action::Dense(None) => {
                self.refuse_not_finite(bytes)?;
                self.decode(bytes, weights)?;
                Ok(lossless(vec![self.stored(weights)]))
            }
            Action::Quantize(scheme) | Action::Dense(Some(scheme)) => {
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
    ) -> Result<Rewritten<'static>, Error> {
        let parts = self.encoded(matrix, scheme)?;
        let error = matrix.squared_error(weights);
        let parts = match self.place.action {
            Action::Dense(_) => {
                let mut values = vec![0.0; weights.len()];
                matrix.dequantize_into(&mut values);
                vec![self.stored(&values)]
            }
            _ => parts.into_iter().map(Cow::Owned).collect(),
        };
        Ok(Rewritten { parts, error })
    }

    /// Writes what is stored of the band, and returns the fingerprint of each part.
    pub(crate) fn write(&self, band: &Rewritten<'_>, file: &OutFile) -> Result<Vec<u64>, Error> {
        let mut prints = Vec::with_capacity(band.parts.len());
        for (placed, bytes) in self.place.placed(self.entry).zip(&band.parts) {
            let range = self.place.range(&placed, &self.rows);
            let bytes = if range.is_empty() { &[] } else { &**bytes };
            file.write_at(range.start, bytes)?;
            prints.push(fingerprint(range.start, bytes));
        }
        Ok(prints)
    }

    /// The band as f32, `[rows, columns]`; block scales are multiplied in, and so are those of channels.
    fn decode(&self, bytes: &[u8], weights: &mut Vec<f32>) -> Result<(), Error> {
        let rows = Rows {
            source: &self.plan.source,
            shard: self.shard,
            entry: self.entry,
            block_scale: self.place.block_scale.as_ref(),
            columns: self.place.columns,
            rows: self.rows.clone(),
        };
        rows.weights_into(bytes, weights)?;
        if let Some(smoothing) = self.plan.smoothing.as_ref().and_then(|found| found.decided()) {
            smoothing.apply(&self.entry.name, self.rows.clone(), self.place.columns, weights);
        }
        Ok(())
    }

    /// Quantizes with what the weights alone tell.
    fn quantized(&self, weights: &[f32], scheme: &Scheme) -> Result<QuantizedMatrix, Error> {
        let (rows, columns) = (self.rows.len(), self.place.columns);
        let view = ArrayView2::from_shape((rows, columns), weights)
            .map_err(|error| Error::Refused(format!("tensor `{}`: {error}", self.entry.name)))?;
        let quantizer = self.plan.recipe.method.quantizer();
        let matrix = quantizer.quantize(view, scheme, self.place.scale_dtype);
        matrix.map_err(|error| self.explained(error))
    }

    /// Encodes, and proves that the bytes decode to what was quantized.
    fn encoded(&self, matrix: &QuantizedMatrix, scheme: &Scheme) -> Result<Vec<Vec<u8>>, Error> {
        let (rows, columns) = (self.rows.len(), self.place.columns);
        let scale_dtype = self.place.scale_dtype;
        let codec = for_scheme(scheme);
        let parts = codec.encode(matrix, self.place.rows, scale_dtype);
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        match codec.decode(scheme, scale_dtype, rows, columns, &slices) {
            Ok(decoded) if decoded == *matrix => Ok(parts),
            Ok(_) => Err(self.unsound("its bytes decode to other codes or scales".to_owned())),
            Err(error) => Err(self.unsound(error.to_string())),
        }
    }

    /// Weights as a dense tensor stores them.
    fn stored(&self, weights: &[f32]) -> Cow<'static, [u8]> {
        let dtype = self.place.dense_dtype;
        let mut bytes = vec![0; weights.len() * dtype.bits() / 8];
        encode(dtype, weights, &mut bytes).expect("the plan chose a type to compute with");
        Cow::Owned(bytes)
    }

    /// Which weight of which tensor it is about.
    pub(crate) fn explained(&self, error: QuantError) -> Error {
        match error {
            QuantError::NotFinite { row, column, value } => self.not_finite(NonFinite {
                tensor: self.entry.name.clone(),
                position: vec![self.rows.start + row, column],
                value: value.to_string(),
            }),
            other => Error::Refused(format!("tensor `{}`: {other}", self.entry.name)),
        }
    }

    /// Looks at what is copied or multiplied by its scales, unless all of it was looked at already.
    fn refuse_not_finite(&self, bytes: &[u8]) -> Result<(), Error> {
        if self.plan.recipe.allow_nonfinite || !matters(&self.plan.model, &self.entry.name) {
            return Ok(());
        }
        let begin = self.place.source_range(&self.rows, &self.entry.meta).start;
        first_in(self.entry, begin, bytes).map_or(Ok(()), |found| Err(self.not_finite(found)))
    }

    /// Scales must not drive what was finite out of the range of the type that stores it.
    fn refuse_out_of_range(&self, weights: &[f32]) -> Result<(), Error> {
        let is_lost = weights.iter().any(|weight| !weight.is_finite());
        match is_lost && !self.plan.recipe.allow_nonfinite {
            true => Err(Error::RefusedWithHint {
                what: format!(
                    "tensor `{}`: its scales drive it out of the range of {}",
                    self.entry.name, self.place.dense_dtype
                ),
                hint: "leave `--smooth` out, or give it a strength nearer to 0".to_owned(),
            }),
            false => Ok(()),
        }
    }

    fn not_finite(&self, found: NonFinite) -> Error {
        Error::NotFinite { found, file: self.shard.name.clone(), may_be_kept: true }
    }

    fn unsound(&self, message: String) -> Error {
        let subject = self.entry.name.clone();
        Error::Unsound(vec![llmopt_run::Fault { code: "round-trip", subject, message }])
    }
}

fn lossless(parts: Vec<Cow<'_, [u8]>>) -> Rewritten<'_> {
    Rewritten { parts, error: SquaredError::default() }
}
