//! A quantized matrix of an artifact, whose parts are all there and fit together.

use super::artifact::Artifact;
use crate::Error;
use llmopt_codec::{Codec, ConfigGroup, DecodeError, Part, for_format, for_scheme};
use llmopt_scheme::{QuantizedMatrix, Scheme};
use llmopt_tensor::Dtype;
use std::ops::Range;

/// A matrix that can be read band by band.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    pub(super) module: String,
    pub(super) scheme: Scheme,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) scale_dtype: Dtype,
    format: &'static str,
    parts: Vec<Part>,
}

impl Matrix {
    pub(super) fn new(
        module: &str,
        group: &ConfigGroup,
        [rows, columns]: [usize; 2],
        scale_dtype: Dtype,
        parts: Vec<Part>,
    ) -> Self {
        let (scheme, format) = (group.scheme, group.format);
        Self { module: module.to_owned(), scheme, rows, columns, scale_dtype, format, parts }
    }

    /// The bands in which it is read, as rows.
    pub(super) fn bands(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let step = self.codec().row_step(&self.scheme).max(1);
        let fitting = (BAND_ELEMENTS / self.columns.max(1)).next_multiple_of(step).max(step);
        let rows = self.rows;
        (0..rows).step_by(fitting).map(move |first| first..(first + fitting).min(rows))
    }

    /// Bytes of the parts that belong to a band.
    pub(super) fn bytes(&self, rows: &Range<usize>) -> u64 {
        let bytes = |part: &Part| {
            let range = part.range(rows.clone(), self.rows);
            range.end - range.start
        };
        self.parts.iter().map(bytes).sum()
    }

    /// Reads and decodes a band. The inner error is a fault of the artifact.
    pub(super) fn read(
        &self,
        artifact: &Artifact,
        rows: Range<usize>,
    ) -> Result<Result<QuantizedMatrix, DecodeError>, Error> {
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let name = format!("{}.{}", self.module, part.suffix);
            let range = part.range(rows.clone(), self.rows);
            let mut bytes = vec![0; (range.end - range.start) as usize];
            if let Some((shard, entry)) = artifact.entry(&name) {
                shard.read_tensor(entry, range, &mut bytes)?;
            }
            parts.push(bytes);
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let (height, width) = (rows.len(), self.columns);
        Ok(self.codec().decode(&self.scheme, self.scale_dtype, height, width, &parts))
    }

    fn codec(&self) -> &'static dyn Codec {
        for_format(self.format).unwrap_or_else(|| for_scheme(&self.scheme))
    }
}

/// Elements of a band: a megabyte as f32.
const BAND_ELEMENTS: usize = 1 << 18;
