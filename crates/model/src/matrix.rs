//! A quantized matrix of an artifact, whose parts are all there and fit together.

use llmopt_checkpoint::Source;
use llmopt_codec::{Codec, ConfigGroup, DecodeError, Part, for_format, for_scheme};
use llmopt_run::Error;
use llmopt_scheme::{QuantizedMatrix, Scheme};
use llmopt_tensor::Dtype;
use std::ops::Range;

/// A matrix that can be read band by band.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// The module whose weight it is.
    pub module: &'a str,
    /// The group of the config that it is in.
    pub group: &'a ConfigGroup,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub columns: usize,
    /// The type of its scales.
    pub scale_dtype: Dtype,
}

impl Matrix<'_> {
    /// How its weights are quantized.
    pub fn scheme(&self) -> Scheme {
        self.group.scheme
    }

    /// Whether a tensor with such a name behind the module's is part of it.
    pub fn has_part(&self, suffix: &str) -> bool {
        self.parts().iter().any(|part| part.suffix == suffix)
    }

    /// The bands in which it is read, as rows.
    pub fn bands(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let step = codec(self.group).row_step(&self.group.scheme).max(1);
        let fitting = (BAND_ELEMENTS / self.columns.max(1)).next_multiple_of(step).max(step);
        let rows = self.rows;
        (0..rows).step_by(fitting).map(move |first| first..(first + fitting).min(rows))
    }

    /// Bytes of all its parts.
    pub fn bytes(&self) -> u64 {
        self.parts().iter().map(|part| part.meta.bytes()).sum()
    }

    /// Reads and decodes a band, and counts the bytes. The inner error is a fault of the artifact.
    pub fn read(
        &self,
        source: &Source,
        rows: Range<usize>,
    ) -> Result<(Result<QuantizedMatrix, DecodeError>, u64), Error> {
        let mut parts = Vec::new();
        for part in self.parts() {
            let range = part.range(rows.clone(), self.rows);
            let mut bytes = vec![0; (range.end - range.start) as usize];
            if let Some((shard, entry)) = source.entry(&format!("{}.{}", self.module, part.suffix))
            {
                shard.read_tensor(entry, range, &mut bytes)?;
            }
            parts.push(bytes);
        }
        let read = parts.iter().map(|part| part.len() as u64).sum();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let (height, width) = (rows.len(), self.columns);
        let codec = codec(self.group);
        Ok((codec.decode(&self.group.scheme, self.scale_dtype, height, width, &parts), read))
    }

    /// Its layout. It is asked for again and again, for a model has as many matrices as tensors.
    fn parts(&self) -> Vec<Part> {
        let (scheme, dtype) = (&self.group.scheme, self.scale_dtype);
        codec(self.group).layout(scheme, dtype, self.rows, self.columns).unwrap_or_default()
    }
}

/// The codec of a group.
pub(crate) fn codec(group: &ConfigGroup) -> &'static dyn Codec {
    for_format(group.format).unwrap_or_else(|| for_scheme(&group.scheme))
}

/// Elements of a band: a megabyte as f32.
const BAND_ELEMENTS: usize = 1 << 18;
