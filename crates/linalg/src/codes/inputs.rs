//! Rows of inputs as integers.

use super::{CodeFormat, SEGMENT, STEP};
use llmopt_tensor::i16_nearest;
use llmopt_tensor::simd::{Kernel, dispatch};

/// What inputs are rounded to before they meet codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputCodes {
    /// Sixteen bits, a scale for every 128 columns: an error of about 2.5e-5 of what rounding to eight bits
    /// leaves a hundred times larger, and below that of bf16.
    Int16,
    /// Eight bits, a scale for every 128 columns.
    Int8,
    /// Eight bits, a scale for a whole row, with the arithmetic of compressed-tensors for dynamic
    /// symmetric activations: a scale of the largest magnitude over 127.5, [`f32::EPSILON`] where that
    /// is zero.
    Int8Row,
}

/// Rows of inputs, rounded once for all products with weights of one format.
pub struct CodedInputs {
    rows: usize,
    columns: usize,
    /// Columns that are summed as integers.
    segment: usize,
    /// Bytes of an input: the second has 1/256 of the weight of the first.
    parts: usize,
    /// By strip of rows, segment, row and part; the last segment filled up with zeros.
    bytes: Vec<i8>,
    /// By strip, segment and row.
    scales: Vec<f32>,
    /// Sums of a segment's inputs, by strip, segment and row.
    sums: Vec<i32>,
}

/// Rows that kernels take at once.
pub(crate) const STRIP: usize = 8;

/// Up to [`STRIP`] rows.
#[derive(Clone, Copy)]
pub(crate) struct Strip<'a> {
    pub(crate) rows: usize,
    pub(crate) parts: usize,
    pub(crate) bytes: &'a [i8],
    pub(crate) scales: &'a [f32],
    pub(crate) sums: &'a [i32],
}

impl CodedInputs {
    /// Rounds rows of `columns` inputs. A row that is not finite gives NaN.
    pub(crate) fn new(inputs: &[f32], columns: usize, format: CodeFormat, to: InputCodes) -> Self {
        let rows = inputs.len() / columns;
        let parts = if to == InputCodes::Int16 { 2 } else { 1 };
        let segment = format.segment().next_multiple_of(STEP);
        let segments = columns.div_ceil(segment);
        let mut coded = Self {
            rows,
            columns,
            segment,
            parts,
            bytes: vec![0; rows * parts * columns.next_multiple_of(STEP)],
            scales: vec![0.0; rows * segments],
            sums: vec![0; rows * segments],
        };
        dispatch(Round { inputs, to, coded: &mut coded });
        coded
    }

    /// The memory that so many rows of inputs take.
    pub(crate) fn bytes(rows: usize, columns: usize) -> usize {
        // Segments have sixteen columns at least.
        rows * (2 * columns.next_multiple_of(STEP) + 8 * columns.div_ceil(STEP))
    }

    /// Rows of inputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn fits(&self, format: CodeFormat, columns: usize) -> bool {
        self.columns == columns && self.segment == format.segment().next_multiple_of(STEP)
    }

    pub(crate) fn strips(&self) -> impl Iterator<Item = Strip<'_>> {
        let padded = self.columns.next_multiple_of(STEP) * self.parts;
        let segments = self.columns.div_ceil(self.segment);
        let strips = self.bytes.chunks(STRIP * padded).zip(self.scales.chunks(STRIP * segments));
        strips.zip(self.sums.chunks(STRIP * segments)).map(move |((bytes, scales), sums)| Strip {
            rows: scales.len() / segments,
            parts: self.parts,
            bytes,
            scales,
            sums,
        })
    }
}

struct Round<'a> {
    inputs: &'a [f32],
    to: InputCodes,
    coded: &'a mut CodedInputs,
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { inputs, to, coded } = self;
        let &mut CodedInputs { columns, segment, parts, .. } = coded;
        let segments = columns.div_ceil(segment);
        let padded = columns.next_multiple_of(STEP) * parts;
        for (row, inputs) in inputs.chunks_exact(columns).enumerate() {
            let (strip, place) = (row / STRIP, row % STRIP);
            let height = STRIP.min(coded.rows - strip * STRIP);
            let whole = Rounding::of(to, inputs);
            for (block, inputs) in inputs.chunks(SEGMENT).enumerate() {
                let rounding = whole.unwrap_or_else(|| Rounding::of_block(to, inputs));
                for (part, inputs) in inputs.chunks(segment).enumerate() {
                    let number = block * SEGMENT.div_ceil(segment) + part;
                    let width = inputs.len().next_multiple_of(STEP);
                    let at = (strip * STRIP * padded)
                        + height * parts * number * segment
                        + place * parts * width;
                    let bytes = &mut coded.bytes[at..][..parts * width];
                    let facts = strip * STRIP * segments + number * height + place;
                    coded.scales[facts] = rounding.scale();
                    coded.sums[facts] = rounding.round(inputs, bytes, parts);
                }
            }
        }
    }
}

/// How inputs that share a scale are rounded.
#[derive(Clone, Copy)]
enum Rounding {
    /// Multiplied by the inverse of the scale.
    ByInverse { scale: f32, inverse: f32 },
    /// Divided by the scale, and clamped to what eight bits hold.
    ByScale { scale: f32 },
}

impl Rounding {
    /// Of a whole row, where it has one scale.
    #[inline(always)]
    fn of(to: InputCodes, row: &[f32]) -> Option<Self> {
        (to == InputCodes::Int8Row).then(|| {
            let scale = largest_magnitude(row) / 127.5;
            Self::ByScale { scale: if scale == 0.0 { f32::EPSILON } else { scale } }
        })
    }

    /// Of 128 columns. What is below 1e-30 counts as zero, so that an inverse is finite.
    #[inline(always)]
    fn of_block(to: InputCodes, block: &[f32]) -> Self {
        let most = if to == InputCodes::Int16 { MOST_IN_TWO } else { 127.0 };
        let largest = largest_magnitude(block);
        match largest < 1e-30 {
            true => Self::ByInverse { scale: 0.0, inverse: 0.0 },
            false => Self::ByInverse { scale: largest / most, inverse: most / largest },
        }
    }

    #[inline(always)]
    fn scale(self) -> f32 {
        match self {
            Self::ByInverse { scale, .. } | Self::ByScale { scale } => scale,
        }
    }

    /// Leaves the bytes of the inputs, and returns the sum of their codes. Inputs that are not finite
    /// have a scale that is not, which tells of them whatever is here.
    #[inline(always)]
    fn round(self, inputs: &[f32], bytes: &mut [i8], parts: usize) -> i32 {
        match (self, parts) {
            (Self::ByInverse { inverse, .. }, 2) => {
                let (high, low) = bytes.split_at_mut(bytes.len() / 2);
                in_two(inputs, inverse, high, low)
            }
            (Self::ByInverse { inverse, .. }, _) => in_one(inputs, bytes, |x| x * inverse),
            (Self::ByScale { scale }, _) => {
                in_one(inputs, bytes, |x| (x / scale).clamp(-128.0, 127.0))
            }
        }
    }
}

#[inline(always)]
fn in_two(inputs: &[f32], inverse: f32, high: &mut [i8], low: &mut [i8]) -> i32 {
    let mut sum = 0;
    for ((x, high), low) in inputs.iter().zip(high).zip(low) {
        let code = i32::from(i16_nearest(x * inverse));
        *high = ((code + 128) >> 8) as i8;
        *low = code as i8;
        sum += code;
    }
    sum
}

#[inline(always)]
fn in_one(inputs: &[f32], bytes: &mut [i8], scaled: impl Fn(f32) -> f32) -> i32 {
    let mut sum = 0;
    for (x, byte) in inputs.iter().zip(bytes) {
        let code = i32::from(i16_nearest(scaled(*x)));
        *byte = code as i8;
        sum += code;
    }
    sum
}

/// The largest number whose upper byte, once the lower is signed, is below 128.
const MOST_IN_TWO: f32 = 32639.0;

/// The largest magnitude; not finite where a number is not.
#[inline(always)]
fn largest_magnitude(values: &[f32]) -> f32 {
    let magnitude = |value: f32| value.to_bits() & 0x7fff_ffff;
    let mut lanes = [0; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for lane in 0..16 {
            lanes[lane] = lanes[lane].max(magnitude(chunk[lane]));
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = (*lane).max(magnitude(*value));
    }
    f32::from_bits(lanes.into_iter().fold(0, u32::max))
}
