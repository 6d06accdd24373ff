//! The twin of every other kernel: plain Rust, no contraction, the same bits on every machine.

use super::Panelled;
use crate::buffer::Line;
use crate::driver::{Micro, Panels, Tile};
use crate::fill::bf16_bits;
#[cfg(all(test, target_arch = "x86_64"))]
use crate::fill::word;
#[cfg(target_arch = "x86_64")]
use crate::fill::words;
use crate::packed::Layout;
use llmopt_tensor::simd::{Kernel, dispatch};

pub(crate) static F32: Panelled<Portable<1, false>> =
    Panelled { micro: Portable, layout: Layout::Single };
pub(crate) static WIDENED: Panelled<Portable<2, false>> =
    Panelled { micro: Portable, layout: Layout::Pairs { step: 1 } };
pub(crate) static BF16: Panelled<Portable<2, true>> =
    Panelled { micro: Portable, layout: Layout::Pairs { step: 1 } };

/// Takes lines of so many columns, one of f32 or two of bf16, and inputs as they are or rounded to bf16.
#[derive(Clone, Copy)]
pub(crate) struct Portable<const COLUMNS: usize, const ROUNDED: bool>;

const ROWS: usize = 4;

impl<const COLUMNS: usize, const ROUNDED: bool> Micro for Portable<COLUMNS, ROUNDED> {
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
        dispatch(Interleave::<COLUMNS, ROWS, ROUNDED> { inputs, columns, words });
    }

    fn tile(self, inputs: &[u32], weights: Panels<'_>, out: Tile<'_>) {
        dispatch(Product::<COLUMNS>(inputs, &weights.lines[..weights.depth], out));
    }
}

/// Packs rows of inputs as f32, `[line, ROWS, COLUMNS]`, rounded to bf16 or as they are.
pub(crate) struct Interleave<'a, const COLUMNS: usize, const ROWS: usize, const ROUNDED: bool> {
    pub(crate) inputs: &'a [f32],
    pub(crate) columns: usize,
    pub(crate) words: &'a mut [u32],
}

impl<const COLUMNS: usize, const ROWS: usize, const ROUNDED: bool> Kernel
    for Interleave<'_, COLUMNS, ROWS, ROUNDED>
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (row, inputs) in self.inputs.chunks_exact(self.columns).enumerate() {
            let (whole, rest) = inputs.as_chunks::<COLUMNS>();
            let lines = self.words.chunks_exact_mut(ROWS * COLUMNS);
            // Iterators within this loop would not be inlined.
            for (inputs, line) in whole.iter().zip(lines) {
                for column in 0..COLUMNS {
                    line[row * COLUMNS + column] = f32_word::<ROUNDED>(inputs[column]);
                }
            }
            for (column, x) in rest.iter().enumerate() {
                let line = whole.len() * ROWS;
                self.words[(line + row) * COLUMNS + column] = f32_word::<ROUNDED>(*x);
            }
        }
    }
}

/// The bits of an input, rounded to bf16 or as it is.
#[inline(always)]
fn f32_word<const ROUNDED: bool>(x: f32) -> u32 {
    if ROUNDED { bf16_bits(x) << 16 } else { x.to_bits() }
}

/// Packs rows of inputs as pairs of bf16, `[line, ROWS]`: the twin of the AVX512-BF16 kernel's way.
#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) struct PairUp<'a, const ROWS: usize> {
    pub(crate) inputs: &'a [f32],
    pub(crate) columns: usize,
    pub(crate) words: &'a mut [u32],
}

#[cfg(all(test, target_arch = "x86_64"))]
impl<const ROWS: usize> Kernel for PairUp<'_, ROWS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (row, inputs) in self.inputs.chunks_exact(self.columns).enumerate() {
            let lines = self.words.chunks_exact_mut(ROWS);
            let (pairs, rest) = inputs.as_chunks::<2>();
            let last = rest.iter().map(|x| [*x, 0.0]);
            for (pair, line) in pairs.iter().copied().chain(last).zip(lines) {
                line[row] = word(pair);
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
