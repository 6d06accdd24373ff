//! Where each source tensor goes: its action, its bands, its byte ranges in the output.

use llmopt_arch::BlockScale;
use llmopt_checkpoint::HeaderEntry;
use llmopt_codec::{Part, Span, Unsupported, for_scheme};
use llmopt_scheme::Scheme;
use llmopt_tensor::{Dtype, TensorMeta};
use std::ops::Range;

/// What becomes of a source tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Copied byte for byte.
    Keep,
    /// Stored as codes and scales.
    Quantize(Scheme),
    /// Stored as ordinary weights: dequantized from the source's blocks, and quantized and
    /// dequantized again if there is a scheme.
    Dense(Option<Scheme>),
    /// Stored as before, but with channels divided by scales or multiplied.
    Smooth,
    /// Not stored, because it went into another tensor.
    Omit {
        /// The tensor that absorbed it.
        into: String,
    },
}

/// A source tensor, what becomes of it, and how it is cut into bands.
///
/// Bands are cut by the tensor's shape alone, so that neither threads nor budget show in a sum over
/// them.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) action: Action,
    /// Rows of the matrix; bytes, if it is copied.
    pub(crate) rows: usize,
    /// Columns of the matrix; 1, if it is copied.
    pub(crate) columns: usize,
    /// Rows of a band; the last band may have fewer.
    pub(crate) band_rows: usize,
    /// Type of the scales, and of dense weights.
    pub(crate) scale_dtype: Dtype,
    /// Block scales of an F8_E4M3 weight.
    pub(crate) block_scale: Option<BlockScale>,
    /// Type of dense weights.
    pub(crate) dense_dtype: Dtype,
    /// Where each output tensor begins in its file. The rest of a part follows from the fields above:
    /// in a model of many experts it would be most of what a plan holds.
    pub(crate) begins: Vec<u64>,
}

/// An output tensor and where it begins in its file.
#[derive(Clone, Debug)]
pub(crate) struct PlacedPart {
    pub(crate) name: String,
    pub(crate) part: Part,
    pub(crate) begin: u64,
}

impl Place {
    /// A place without parts: for [`Action::Omit`], whose bytes are read for the input's hash alone.
    pub(crate) fn new(action: Action, meta: &TensorMeta) -> Self {
        Self {
            action,
            rows: usize::try_from(meta.bytes()).unwrap_or(usize::MAX),
            columns: 1,
            band_rows: COPY_BYTES,
            scale_dtype: meta.dtype(),
            block_scale: None,
            dense_dtype: meta.dtype(),
            begins: Vec::new(),
        }
    }

    /// Cuts a matrix into bands that begin at multiples of `step` rows.
    pub(crate) fn cut_as_matrix(mut self, rows: usize, columns: usize, step: usize) -> Self {
        let fitting = BAND_ELEMENTS / columns.max(1) / step * step;
        (self.rows, self.columns, self.band_rows) = (rows, columns, fitting.max(step));
        self
    }

    /// The scheme of its codes, if it gets any.
    pub(crate) fn scheme(&self) -> Option<Scheme> {
        match self.action {
            Action::Quantize(scheme) | Action::Dense(Some(scheme)) => Some(scheme),
            _ => None,
        }
    }

    /// The output tensors, in the order of `begins`.
    ///
    /// # Errors
    /// The scheme cannot be laid out; the plan has refused that.
    pub(crate) fn parts(&self, entry: &HeaderEntry) -> Result<Vec<Part>, Unsupported> {
        let plain = |meta| vec![Part { suffix: "weight", meta, span: Span::Rows }];
        Ok(match &self.action {
            Action::Omit { .. } => Vec::new(),
            Action::Keep | Action::Smooth => plain(entry.meta.clone()),
            Action::Dense(_) => {
                plain(TensorMeta::new(self.dense_dtype, [self.rows, self.columns])?)
            }
            Action::Quantize(scheme) => {
                for_scheme(scheme).layout(scheme, self.scale_dtype, self.rows, self.columns)?
            }
        })
    }

    /// The output tensors, each in its place.
    pub(crate) fn placed(&self, entry: &HeaderEntry) -> impl Iterator<Item = PlacedPart> {
        let parts = self.parts(entry).unwrap_or_default().into_iter().zip(&self.begins);
        parts.map(|(part, &begin)| PlacedPart { name: self.part_name(entry, &part), part, begin })
    }

    /// Where the bytes of a band of a part lie in the output file. What belongs to the whole matrix
    /// belongs to its first band.
    pub(crate) fn range(&self, placed: &PlacedPart, rows: &Range<usize>) -> Range<u64> {
        let range = match self.action {
            // Its rows are bytes.
            Action::Keep => rows.start as u64..rows.end as u64,
            _ if placed.part.span == Span::Once && rows.start > 0 => 0..0,
            _ => placed.part.range(rows.clone(), self.rows),
        };
        placed.begin + range.start..placed.begin + range.end
    }

    /// Bytes of its output tensors.
    pub(crate) fn bytes_after(&self, entry: &HeaderEntry) -> u64 {
        self.parts(entry).unwrap_or_default().iter().map(|part| part.meta.bytes()).sum()
    }

    /// Number of bands.
    pub(crate) fn bands(&self) -> usize {
        if self.columns == 0 { 0 } else { self.rows.div_ceil(self.band_rows) }
    }

    /// Rows of a band.
    pub(crate) fn band(&self, number: usize) -> Range<usize> {
        let first = number * self.band_rows;
        first..(first + self.band_rows).min(self.rows)
    }

    /// Where the rows of a band lie in the source tensor, in bytes.
    pub(crate) fn source_range(&self, rows: &Range<usize>, meta: &TensorMeta) -> Range<u64> {
        let row_bytes = meta.bytes() / (self.rows as u64).max(1);
        rows.start as u64 * row_bytes..rows.end as u64 * row_bytes
    }

    /// The name of an output tensor.
    pub(crate) fn part_name(&self, entry: &HeaderEntry, part: &Part) -> String {
        match self.action {
            Action::Quantize(_) => {
                let module = entry.name.strip_suffix(".weight").unwrap_or(&entry.name);
                format!("{module}.{}", part.suffix)
            }
            _ => entry.name.clone(),
        }
    }

    /// Memory that a worker holds while it works on a band of this place.
    pub(crate) fn working_bytes(
        &self,
        source: Dtype,
        quantizer: &dyn llmopt_quant::Quantizer,
    ) -> u64 {
        let rows = self.band_rows.min(self.rows);
        let elements = rows as u64 * self.columns as u64;
        let read = elements * source.bits() as u64 / 8;
        match &self.action {
            Action::Keep | Action::Omit { .. } => elements,
            Action::Dense(None) | Action::Smooth => read + elements * 8,
            Action::Quantize(scheme) | Action::Dense(Some(scheme)) => {
                let weights = elements * 4;
                let codes = elements;
                let scales = elements * 8 / scheme_tile(scheme, self.columns) as u64;
                // Codes and scales exist as chosen, as encoded, and as decoded again.
                let search = quantizer.working_bytes(rows, self.columns, scheme) as u64;
                read + weights + 3 * (codes + scales) + search.max(weights)
            }
        }
    }
}

fn scheme_tile(scheme: &Scheme, columns: usize) -> usize {
    match scheme.granularity {
        llmopt_scheme::Granularity::Channel => columns.max(1),
        llmopt_scheme::Granularity::Group(size) => size.max(1),
        llmopt_scheme::Granularity::Block { rows, columns } => (rows * columns).max(1),
    }
}

/// Elements of a band: large enough that calls and turns do not show, small enough for the cache.
const BAND_ELEMENTS: usize = 1 << 19;
/// Bytes of a band of a copied tensor.
const COPY_BYTES: usize = 1 << 20;
