//! The twin of every other kernel: plain Rust, no contraction, the same bits on every machine.

use super::Panelled;
use crate::buffer::Line;
use crate::driver::{Micro, Panels, Tile};
use crate::fill::bf16_bits;
#[cfg(target_arch = "x86_64")]
use crate::fill::{transposed, words};
use crate::packed::Layout;
use llmopt_tensor::simd::{Kernel, dispatch};

pub(crate) static F32: Panelled<Portable<1>> = Panelled { micro: Portable, layout: Layout::Single };
pub(crate) static BF16: Panelled<Portable<2>> =
    Panelled { micro: Portable, layout: Layout::Pairs { step: 1 } };

/// Takes lines of so many columns: one of f32, or two of bf16.
#[derive(Clone, Copy)]
pub(crate) struct Portable<const COLUMNS: usize>;

const ROWS: usize = 4;

impl<const COLUMNS: usize> Micro for Portable<COLUMNS> {
    type Guard = ();
    const ROWS: usize = ROWS;
    const WORDS: usize = COLUMNS;
    const BLOCK_ROWS: usize = 256;
    const BLOCK_LINES: usize = 256;
    const BLOCK_PANELS: usize = 32;

    fn guard(self) {}

    fn panels(_: usize) -> usize {
        1
    }

    fn pack(self, inputs: &[f32], columns: usize, words: &mut [u32]) {
        dispatch(Interleave::<COLUMNS, ROWS> { inputs, columns, words });
    }

    fn tile(self, inputs: &[u32], weights: Panels<'_>, out: Tile<'_>) {
        dispatch(Product::<COLUMNS>(inputs, &weights.lines[..weights.depth], out));
    }
}

/// Packs rows of inputs as f32, `[line, ROWS, COLUMNS]`; rounded where a line holds bf16.
pub(crate) struct Interleave<'a, const COLUMNS: usize, const ROWS: usize> {
    pub(crate) inputs: &'a [f32],
    pub(crate) columns: usize,
    pub(crate) words: &'a mut [u32],
}

impl<const COLUMNS: usize, const ROWS: usize> Kernel for Interleave<'_, COLUMNS, ROWS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (row, inputs) in self.inputs.chunks_exact(self.columns).enumerate() {
            let (whole, rest) = inputs.as_chunks::<COLUMNS>();
            let lines = self.words.chunks_exact_mut(ROWS * COLUMNS);
            // Iterators within this loop would not be inlined.
            for (inputs, line) in whole.iter().zip(lines) {
                for column in 0..COLUMNS {
                    line[row * COLUMNS + column] = f32_word::<COLUMNS>(inputs[column]);
                }
            }
            for (column, x) in rest.iter().enumerate() {
                let line = whole.len() * ROWS;
                self.words[(line + row) * COLUMNS + column] = f32_word::<COLUMNS>(*x);
            }
        }
    }
}

/// The bits of an input that meets lines of so many columns.
#[inline(always)]
fn f32_word<const COLUMNS: usize>(x: f32) -> u32 {
    if COLUMNS == 1 { x.to_bits() } else { bf16_bits(x) << 16 }
}

/// Packs up to sixteen rows of inputs as pairs of bf16, `[line, ROWS]`.
#[cfg(target_arch = "x86_64")]
pub(crate) struct PairUp<'a, const ROWS: usize> {
    pub(crate) inputs: &'a [f32],
    pub(crate) columns: usize,
    pub(crate) words: &'a mut [u32],
}

#[cfg(target_arch = "x86_64")]
impl<const ROWS: usize> Kernel for PairUp<'_, ROWS> {
    type Output = ();

    /// Sixteen lines at a time: the square of words that they make is transposed.
    #[inline(always)]
    fn run(self) {
        let Self { inputs, columns, words: packed } = self;
        for (square, lines) in packed.chunks_mut(16 * ROWS).enumerate() {
            let mut square_words = [[0; 16]; 16];
            let first = columns.min(square * 32);
            let last = columns.min(first + 32);
            for (row, out) in inputs.chunks_exact(columns).zip(&mut square_words) {
                words::<2>(&row[first..last], out);
            }
            let lines = lines.chunks_exact_mut(ROWS);
            for (line, words) in lines.zip(&transposed(square_words)) {
                line.copy_from_slice(&words[..ROWS]);
            }
        }
    }
}

/// Packs rows of inputs as pairs of bf16, in squares of 16 rows of 16 pairs:
/// `[line / 16, row, line % 16]`.
#[cfg(target_arch = "x86_64")]
pub(crate) struct PairRows<'a> {
    pub(crate) inputs: &'a [f32],
    pub(crate) columns: usize,
    pub(crate) words: &'a mut [u32],
}

#[cfg(target_arch = "x86_64")]
impl Kernel for PairRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (row, inputs) in self.inputs.chunks_exact(self.columns).enumerate() {
            let steps = self.words.chunks_exact_mut(32 * 16);
            for (inputs, step) in inputs.chunks(32).zip(steps) {
                words::<2>(inputs, &mut step[row * 16..][..16]);
            }
        }
    }
}

struct Product<'a, const COLUMNS: usize>(&'a [u32], &'a [Line], Tile<'a>);

impl<const COLUMNS: usize> Kernel for Product<'_, COLUMNS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self(inputs, lines, tile) = self;
        let mut sums = [[0f32; 16]; ROWS];
        if !tile.first {
            for (sums, out) in sums.iter_mut().zip(tile.out.chunks(tile.stride)).take(tile.rows) {
                sums.copy_from_slice(&out[..16]);
            }
        }
        for (inputs, line) in inputs.as_chunks::<ROWS>().0.chunks_exact(COLUMNS).zip(lines) {
            let inputs: &[u32] = inputs.as_flattened();
            for column in 0..COLUMNS {
                let mut weights = [0f32; 16];
                for c in 0..16 {
                    weights[c] = f32::from_bits(part::<COLUMNS>(line[c], column));
                }
                for r in 0..ROWS {
                    let x = f32::from_bits(inputs[r * COLUMNS + column]);
                    for c in 0..16 {
                        sums[r][c] += x * weights[c];
                    }
                }
            }
        }
        for (sums, out) in sums.iter().zip(tile.out.chunks_mut(tile.stride)).take(tile.rows) {
            out[..16].copy_from_slice(sums);
        }
    }
}

/// The bits, as f32, of one column of a word.
#[inline(always)]
fn part<const COLUMNS: usize>(word: u32, column: usize) -> u32 {
    match (COLUMNS, column) {
        (1, _) => word,
        (_, 0) => word << 16,
        _ => word & 0xffff_0000,
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::tests::random;
    use half::bf16;

    const ROWS: usize = 14;

    /// Packs one pair after the other.
    fn twin(inputs: &[f32], columns: usize) -> Vec<u32> {
        let mut words = vec![0; columns.div_ceil(2) * ROWS];
        for (row, inputs) in inputs.chunks_exact(columns).enumerate() {
            for (column, x) in inputs.iter().enumerate() {
                let bits = u32::from(bf16::from_f32(*x).to_bits());
                words[column / 2 * ROWS + row] |= bits << (16 * (column % 2));
            }
        }
        words
    }

    #[test]
    fn pairs_of_inputs_are_packed_as_one_by_one() {
        for (rows, columns) in [(1, 1), (14, 2), (3, 31), (14, 32), (13, 33), (14, 129), (5, 64)] {
            let mut inputs = random(rows * columns, 5);
            inputs[0] = f32::from_bits(1);
            let mut words = vec![0; columns.div_ceil(2) * ROWS];
            dispatch(PairUp::<ROWS> { inputs: &inputs, columns, words: &mut words });
            assert!(words == twin(&inputs, columns), "{rows} rows of {columns}");
        }
    }
}
