//! Weights of a phase, read band by band straight into the layout of the kernel that will multiply.

use crate::matrix::Matrix as Decoded;
use crate::nonfinite;
use crate::variant::{Stored, Variant};
use crate::weights::Rows;
use llmopt_arch::program::{self, Embedding, Operation, Phase};
use llmopt_checkpoint::Shard;
use llmopt_forward::{Linear, Matrix, Weights};
use llmopt_linalg::{Band, CodeFormat, Gemm, Packed};
use llmopt_run::{Error, NonFinite};
use llmopt_scheme::{Activations, Granularity, Numeric, QuantizedMatrix};
use llmopt_tensor::{Dtype, decode};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

impl Variant {
    /// The weights of a phase.
    ///
    /// # Errors
    /// If a tensor cannot be read or decoded.
    pub fn weights(&self, phase: &Phase, gemm: Gemm) -> Result<Weights, Error> {
        self.weights_under(&Nothing, phase, gemm)
    }

    /// The weights of a phase, where `overlay` replaces some.
    ///
    /// # Errors
    /// If a tensor cannot be read or decoded.
    pub fn weights_under(
        &self,
        overlay: &dyn Overlay,
        phase: &Phase,
        gemm: Gemm,
    ) -> Result<Weights, Error> {
        let mut weights = Weights::default();
        for operation in &phase.operations {
            match operation {
                Operation::Norm { weight, .. } => {
                    weights.vectors.insert(weight.clone(), self.vector(weight)?);
                }
                Operation::Linear(linear) => {
                    let found = self.linear(overlay, linear, gemm)?;
                    weights.linears.insert(linear.weight.clone(), found);
                }
                _ => {}
            }
        }
        Ok(weights)
    }

    fn linear(
        &self,
        overlay: &dyn Overlay,
        linear: &program::Linear,
        gemm: Gemm,
    ) -> Result<Linear, Error> {
        let program::Linear { weight, bias, rows, columns, .. } = linear;
        let replaced = overlay.activations(weight);
        let packed = match replaced {
            Some(_) => packed(gemm.pack(*rows, *columns), 0..*rows, *columns, |rows, buffers| {
                overlay.read(weight, rows, &mut buffers.weights)
            }),
            None => self.packed(weight, 0..*rows, *columns, gemm),
        };
        Ok(Linear {
            packed: packed?,
            bias: bias.as_deref().map(|bias| self.vector(bias)).transpose()?,
            activations: replaced.unwrap_or_else(|| self.activations_of(weight)),
        })
    }

    /// Rows of the head, as a linear.
    pub fn head_rows(&self, rows: Range<usize>, gemm: Gemm) -> Result<Linear, Error> {
        let head = &self.program.head;
        let bias = head.bias.as_deref().map(|bias| self.vector(bias)).transpose()?;
        Ok(Linear {
            packed: self.packed(&head.tensor, rows.clone(), self.program.hidden, gemm)?,
            bias: bias.map(|bias| bias[rows].to_vec()),
            activations: self.activations_of(&head.tensor),
        })
    }

    /// Rows of a weight, packed by all threads of the pool. `rows` begins at a multiple of
    /// [`ROW_STEP`].
    fn packed(
        &self,
        weight: &str,
        rows: Range<usize>,
        columns: usize,
        gemm: Gemm,
    ) -> Result<Packed, Error> {
        if let Some((holder, stored, format)) = self.kept_as_codes(weight) {
            let packed = gemm.pack_codes(rows.len(), columns, format);
            return filled(packed, columns, |_, band| {
                let band_rows = band.rows();
                let of_matrix = rows.start + band_rows.start..rows.start + band_rows.end;
                holder.fill_codes(weight, stored, of_matrix, format, band)
            });
        }
        let room = match self.is_bf16(weight) {
            true => gemm.pack_bf16(rows.len(), columns),
            false => gemm.pack(rows.len(), columns),
        };
        packed(room, rows, columns, |rows, buffers| self.read(weight, rows, columns, buffers))
    }

    /// Whether every number of a weight is a bf16 as it is read.
    fn is_bf16(&self, weight: &str) -> bool {
        let holder = self.holder(weight);
        let dtype = holder.source.meta(weight).map(|meta| meta.dtype());
        let scaled = holder.smoothing.as_ref().is_some_and(|smoothing| smoothing.changes(weight));
        dtype == Some(Dtype::BF16) && !holder.matrices.contains_key(weight) && !scaled
    }

    /// Whether a weight is multiplied as the codes that it is stored as: who stores it, how, and the
    /// layout of a kernel that takes it. Codes of fp8, of tiles over several rows, and those whose scales
    /// change as they are read become weights first.
    fn kept_as_codes(&self, weight: &str) -> Option<(&Self, &Stored, CodeFormat)> {
        let holder = self.holder(weight);
        let stored = holder.matrices.get(weight)?;
        if holder.smoothing.as_ref().is_some_and(|smoothing| smoothing.changes(weight)) {
            return None;
        }
        let scheme = stored.group.scheme;
        let Numeric::Int { bits } = scheme.weights else { return None };
        let group = match scheme.granularity {
            Granularity::Channel => stored.columns,
            Granularity::Group(group) => group,
            Granularity::Block { .. } => return None,
        };
        let format = CodeFormat::new(bits, group, stored.columns, !scheme.symmetric)?;
        Some((holder, stored, format))
    }

    /// Whether a matrix is multiplied as codes of whose inputs the scheme says nothing.
    pub fn has_free_code_inputs(&self) -> bool {
        self.matrices.keys().any(|weight| {
            let codes = self.kept_as_codes(weight);
            codes.is_some() && self.activations_of(weight) == Activations::None
        })
    }

    /// The memory that some rows of a weight take once they are read for `gemm`.
    pub fn packed_bytes(&self, weight: &str, rows: usize, columns: usize, gemm: Gemm) -> u64 {
        let bytes = match self.kept_as_codes(weight) {
            Some((_, _, format)) => Gemm::packed_code_bytes(rows, columns, format),
            None if self.is_bf16(weight) => gemm.packed_bf16_bytes(rows, columns),
            None => gemm.packed_bytes(rows, columns),
        };
        bytes as u64
    }

    fn fill_codes(
        &self,
        weight: &str,
        stored: &Stored,
        rows: Range<usize>,
        format: CodeFormat,
        band: &mut Band<'_>,
    ) -> Result<(), Error> {
        let QuantizedMatrix { grid, codes } = self.decoded(weight, stored, rows)?;
        let mut zero_points = grid.zero_points;
        let wanted = if format.has_zero_points() { grid.scales.len() } else { 0 };
        // None stand for zeros.
        zero_points.resize(wanted, 0);
        band.fill_codes(&codes, &grid.scales, &zero_points);
        Ok(())
    }

    /// Some rows of a matrix as f32, `[rows, columns]`, wherever they begin. Many are read by all threads
    /// of the pool.
    pub fn rows(
        &self,
        weight: &str,
        rows: Range<usize>,
        columns: usize,
    ) -> Result<Vec<f32>, Error> {
        if let Some(holder) = self.borrowed.get(weight) {
            return holder.rows(weight, rows, columns);
        }
        if rows.len() <= band_rows(columns) || !rows.start.is_multiple_of(ROW_STEP) {
            return self.few_rows(weight, rows, columns);
        }
        let mut weights = vec![0.0; rows.len() * columns];
        let bands = weights.par_chunks_mut(band_rows(columns) * columns).enumerate();
        bands.try_for_each_init(
            Buffers::default,
            |buffers, (number, band)| -> Result<(), Error> {
                let first = rows.start + number * band_rows(columns);
                self.read(weight, first..first + band.len() / columns, columns, buffers)?;
                band.copy_from_slice(&buffers.weights);
                Ok(())
            },
        )?;
        Ok(weights)
    }

    fn few_rows(
        &self,
        weight: &str,
        rows: Range<usize>,
        columns: usize,
    ) -> Result<Vec<f32>, Error> {
        let first = rows.start / ROW_STEP * ROW_STEP;
        let mut buffers = Buffers::default();
        if self.matrices.contains_key(weight) || self.model.block_scale_of(weight).is_some() {
            let whole = self.rows_of(weight);
            let end = rows.end.next_multiple_of(ROW_STEP).min(whole);
            self.read(weight, first..end, columns, &mut buffers)?;
            let skipped = (rows.start - first) * columns;
            return Ok(buffers.weights[skipped..][..rows.len() * columns].to_vec());
        }
        self.read(weight, rows, columns, &mut buffers)?;
        Ok(buffers.weights)
    }

    fn rows_of(&self, weight: &str) -> usize {
        self.model.get(weight).and_then(|tensor| tensor.meta.shape().first().copied()).unwrap_or(0)
    }

    fn read(
        &self,
        weight: &str,
        rows: Range<usize>,
        columns: usize,
        buffers: &mut Buffers,
    ) -> Result<(), Error> {
        if let Some(holder) = self.borrowed.get(weight) {
            return holder.read(weight, rows, columns, buffers);
        }
        match self.matrices.get(weight) {
            Some(stored) => self.read_quantized(weight, stored, rows.clone(), buffers)?,
            None => self.read_dense(weight, rows.clone(), columns, buffers)?,
        }
        if let Some(smoothing) = &self.smoothing {
            smoothing.apply(weight, rows, columns, &mut buffers.weights);
        }
        Ok(())
    }

    fn read_quantized(
        &self,
        weight: &str,
        stored: &Stored,
        rows: Range<usize>,
        buffers: &mut Buffers,
    ) -> Result<(), Error> {
        buffers.weights.resize(rows.len() * stored.columns, 0.0);
        self.decoded(weight, stored, rows)?.dequantize_into(&mut buffers.weights);
        Ok(())
    }

    /// Some rows of a quantized weight, as its files hold them.
    fn decoded(
        &self,
        weight: &str,
        stored: &Stored,
        rows: Range<usize>,
    ) -> Result<QuantizedMatrix, Error> {
        let matrix = Decoded {
            module: weight.strip_suffix(".weight").unwrap_or(weight),
            group: &stored.group,
            rows: stored.rows,
            columns: stored.columns,
            scale_dtype: stored.scale_dtype,
        };
        let (decoded, _) = matrix.read(&self.source, rows)?;
        decoded.map_err(|error| self.wrong(weight, error))
    }

    fn read_dense(
        &self,
        weight: &str,
        rows: Range<usize>,
        columns: usize,
        buffers: &mut Buffers,
    ) -> Result<(), Error> {
        let (shard, entry) =
            self.source.entry(weight).ok_or_else(|| self.wrong(weight, "it is missing"))?;
        let row_bytes = (columns * entry.meta.dtype().bits() / 8) as u64;
        let range = rows.start as u64 * row_bytes..rows.end as u64 * row_bytes;
        let begin = range.start;
        buffers.bytes.resize((range.end - range.start) as usize, 0);
        shard.read_tensor(entry, range, &mut buffers.bytes)?;
        if let Some(found) = nonfinite::first_in(entry, begin, &buffers.bytes) {
            return Err(not_finite(shard, found));
        }
        let block_scale = self.model.block_scale_of(weight);
        let rows = Rows { source: &self.source, shard, entry, block_scale, columns, rows };
        rows.weights_into(&buffers.bytes, &mut buffers.weights)
    }

    /// The embeddings of tokens, `[tokens, hidden]`. Each row that occurs is read once.
    pub fn embedded(&self, tokens: impl Iterator<Item = u32>) -> Result<Matrix, Error> {
        let Embedding { tensor, scale } = &self.program.embedding;
        let hidden = self.program.hidden;
        let mut rows: BTreeMap<u32, Vec<f32>> = BTreeMap::new();
        let mut matrix = Vec::new();
        for token in tokens {
            let row = match rows.entry(token) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let mut row = self.rows(tensor, token as usize..token as usize + 1, hidden)?;
                    row.iter_mut().for_each(|value| *value *= scale);
                    new.insert(row)
                }
            };
            matrix.extend_from_slice(row);
        }
        let count = matrix.len() / hidden;
        Ok(Matrix::from_values(count, hidden, matrix).expect("whole rows"))
    }

    /// A whole tensor of one axis.
    pub fn vector(&self, tensor: &str) -> Result<Vec<f32>, Error> {
        let (shard, entry) =
            self.source.entry(tensor).ok_or_else(|| self.wrong(tensor, "it is missing"))?;
        let mut bytes = vec![0; entry.meta.bytes() as usize];
        shard.read_tensor(entry, 0..entry.meta.bytes(), &mut bytes)?;
        let mut values = vec![0.0; entry.meta.elements() as usize];
        decode(entry.meta.dtype(), &bytes, &mut values)
            .map_err(|error| self.wrong(tensor, error))?;
        // A head's bias may hold infinities: tokens that never come.
        if let Some(index) = values.iter().position(|value| value.is_nan()) {
            let position = entry.meta.position(index as u64);
            let (tensor, value) = (tensor.to_owned(), f32::NAN.to_string());
            return Err(not_finite(shard, NonFinite { tensor, position, value }));
        }
        if let Some(smoothing) = &self.smoothing {
            smoothing.apply(tensor, 0..values.len(), 1, &mut values);
        }
        Ok(values)
    }
}

/// Whatever is multiplied by it is not finite, either.
pub(super) fn not_finite(shard: &Shard, found: NonFinite) -> Error {
    Error::NotFinite { found, file: shard.name.clone(), may_be_kept: false }
}

/// Weights that take the place of a model's own.
pub trait Overlay: Sync {
    /// What is done to the inputs of the product with `weight`, if it is replaced.
    fn activations(&self, weight: &str) -> Option<Activations>;

    /// Fills `weights` with some rows of a weight that is replaced. They begin at a multiple of
    /// [`ROW_STEP`].
    fn read(&self, weight: &str, rows: Range<usize>, weights: &mut Vec<f32>) -> Result<(), Error>;
}

/// Replaces nothing.
struct Nothing;

impl Overlay for Nothing {
    fn activations(&self, _: &str) -> Option<Activations> {
        None
    }

    fn read(&self, _: &str, _: Range<usize>, _: &mut Vec<f32>) -> Result<(), Error> {
        Ok(())
    }
}

/// Rows of a matrix that `read` puts into its buffers, packed by all threads of the pool.
fn packed(
    room: Packed,
    rows: Range<usize>,
    columns: usize,
    read: impl Fn(Range<usize>, &mut Buffers) -> Result<(), Error> + Sync,
) -> Result<Packed, Error> {
    filled(room, columns, |buffers, band| {
        let band_rows = band.rows();
        read(rows.start + band_rows.start..rows.start + band_rows.end, buffers)?;
        band.fill(&buffers.weights);
        Ok(())
    })
}

/// A matrix whose bands are filled by all threads of the pool.
fn filled(
    mut packed: Packed,
    columns: usize,
    fill: impl Fn(&mut Buffers, &mut Band<'_>) -> Result<(), Error> + Sync,
) -> Result<Packed, Error> {
    let bands = packed.bands_mut(band_rows(columns)).into_par_iter();
    bands.try_for_each_init(Buffers::default, |buffers, mut band| fill(buffers, &mut band))?;
    Ok(packed)
}

/// Room to work in, used band after band.
#[derive(Default)]
struct Buffers {
    bytes: Vec<u8>,
    weights: Vec<f32>,
}

/// Bands begin at multiples of so many rows: those of every layout, of block scales, and of every
/// kernel's panels.
pub const ROW_STEP: usize = 128;
/// Rows of a band of so many columns: about a megabyte as f32.
pub fn band_rows(columns: usize) -> usize {
    (BAND_ELEMENTS / columns.max(1)).max(1).next_multiple_of(ROW_STEP)
}

/// Memory that reading a band takes: its bytes, its codes, its weights.
pub fn band_bytes(columns: usize) -> u64 {
    (band_rows(columns) * columns * BYTES_PER_ELEMENT) as u64
}

const BAND_ELEMENTS: usize = 1 << 18;
/// At most four as stored, one of the code, four as f32.
const BYTES_PER_ELEMENT: usize = 9;
