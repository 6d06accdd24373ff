//! A tensor of the plan: its treatment, its bands, its byte ranges in the output.

use crate::treatment::Treatment;
use llmopt_arch::BlockScale;
use llmopt_checkpoint::HeaderEntry;
use llmopt_codec::{Part, Span, Unsupported, for_scheme};
use llmopt_scheme::Scheme;
use llmopt_tensor::{Dtype, TensorMeta};
use std::ops::Range;

/// A tensor of the plan, and how it is cut into bands. Its name and shape stand beside it: see
/// [`Named`].
///
/// Bands are cut by the tensor's shape alone, so that neither threads nor budget show in a sum over
/// them.
#[derive(Clone, Debug)]
pub struct OutputTensor {
    /// What becomes of it.
    pub treatment: Treatment,
    /// Rows of the matrix; bytes, if it is written as bytes.
    pub rows: usize,
    /// Columns of the matrix; 1, if it is written as bytes.
    pub columns: usize,
    /// Rows of a band; the last band may have fewer.
    pub band_rows: usize,
    /// Type of the scales, and of dense weights.
    pub scale_dtype: Dtype,
    /// Block scales of an F8_E4M3 weight.
    pub block_scale: Option<BlockScale>,
    /// Type of dense weights.
    pub dense_dtype: Dtype,
    /// Where each stored tensor begins in its file. The rest of a part follows from the fields above:
    /// in a model of many experts it would be most of what a plan holds.
    pub begins: Vec<u64>,
}

/// The name and the type that a treatment starts from: the source's, unless the tensor is renamed, cut
/// or new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its element type and shape.
    pub meta: &'a TensorMeta,
}

impl<'a> From<&'a HeaderEntry> for Named<'a> {
    fn from(entry: &'a HeaderEntry) -> Self {
        Self { name: &entry.name, meta: &entry.meta }
    }
}

/// A stored tensor and where it begins in its file.
#[derive(Clone, Debug)]
pub struct StoredPart {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub part: Part,
    /// Its first byte.
    pub begin: u64,
}

impl OutputTensor {
    /// A tensor written as bytes of `meta`; those of [`Treatment::Omit`] are read for the input's hash
    /// alone.
    pub fn new(treatment: Treatment, meta: &TensorMeta) -> Self {
        Self {
            treatment,
            rows: usize::try_from(meta.bytes()).unwrap_or(usize::MAX),
            columns: 1,
            band_rows: BAND_BYTES,
            scale_dtype: meta.dtype(),
            block_scale: None,
            dense_dtype: meta.dtype(),
            begins: Vec::new(),
        }
    }

    /// Cuts a matrix into bands that begin at multiples of `step` rows.
    pub fn cut_as_matrix(mut self, rows: usize, columns: usize, step: usize) -> Self {
        let fitting = BAND_ELEMENTS / columns.max(1) / step * step;
        (self.rows, self.columns, self.band_rows) = (rows, columns, fitting.max(step));
        self
    }

    /// The scheme of its codes, if it gets any.
    pub fn scheme(&self) -> Option<Scheme> {
        self.treatment.scheme()
    }

    /// What is stored of it, in the order of `begins`.
    ///
    /// # Errors
    /// The scheme cannot be laid out; the plan has refused that.
    pub fn parts<'n>(&self, of: impl Into<Named<'n>>) -> Result<Vec<Part>, Unsupported> {
        let plain = |meta| vec![Part { suffix: "weight", meta, span: Span::Rows }];
        Ok(match &self.treatment {
            Treatment::Omit { .. } => Vec::new(),
            Treatment::Dense(_) => {
                plain(TensorMeta::new(self.dense_dtype, [self.rows, self.columns])?)
            }
            Treatment::Quantize(scheme) => {
                for_scheme(scheme).layout(scheme, self.scale_dtype, self.rows, self.columns)?
            }
            _ => plain(of.into().meta.clone()),
        })
    }

    /// What is stored of it, each where it lies.
    pub fn stored<'n>(&self, of: impl Into<Named<'n>>) -> impl Iterator<Item = StoredPart> {
        let of = of.into();
        let parts = self.parts(of).unwrap_or_default().into_iter().zip(&self.begins);
        parts.map(move |(part, &begin)| StoredPart {
            name: self.part_name(of.name, &part),
            part,
            begin,
        })
    }

    /// Where the bytes of a band of a part lie in the output file. What belongs to the whole matrix
    /// belongs to its first band.
    pub fn range(&self, stored: &StoredPart, rows: &Range<usize>) -> Range<u64> {
        let range = match stored.part.span {
            _ if self.treatment.is_of_bytes() => rows.start as u64..rows.end as u64,
            Span::Once if rows.start > 0 => 0..0,
            _ => stored.part.range(rows.clone(), self.rows),
        };
        stored.begin + range.start..stored.begin + range.end
    }

    /// Bytes of what is stored of it.
    pub fn stored_bytes<'n>(&self, of: impl Into<Named<'n>>) -> u64 {
        self.parts(of).unwrap_or_default().iter().map(|part| part.meta.bytes()).sum()
    }

    /// Number of bands.
    pub fn bands(&self) -> usize {
        if self.columns == 0 { 0 } else { self.rows.div_ceil(self.band_rows) }
    }

    /// Rows of a band.
    pub fn band(&self, number: usize) -> Range<usize> {
        let first = number * self.band_rows;
        first..(first + self.band_rows).min(self.rows)
    }

    /// Where the rows of a band lie in the source tensor, in bytes.
    pub fn source_range(&self, rows: &Range<usize>, meta: &TensorMeta) -> Range<u64> {
        let row_bytes = meta.bytes() / (self.rows as u64).max(1);
        rows.start as u64 * row_bytes..rows.end as u64 * row_bytes
    }

    /// The name of a part of the tensor `name`.
    pub(crate) fn part_name(&self, name: &str, part: &Part) -> String {
        match self.treatment {
            Treatment::Quantize(_) => {
                format!("{}.{}", name.strip_suffix(".weight").unwrap_or(name), part.suffix)
            }
            _ => name.to_owned(),
        }
    }
}

/// Elements of a band: large enough that calls and turns do not show, small enough for the cache.
const BAND_ELEMENTS: usize = 1 << 19;
/// Bytes of a band of a tensor that is written as bytes.
pub const BAND_BYTES: usize = 1 << 20;
