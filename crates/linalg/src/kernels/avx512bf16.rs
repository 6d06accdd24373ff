//! The bf16 dot product of AVX-512: a pair of columns in one instruction.
//!
//! It takes subnormal numbers for zero.

#![expect(unsafe_code, reason = "loads and stores of vectors")]

use super::square::store_columns;
use super::{Found, Panelled, checked};
use crate::driver::{Micro, Panels, Tile};
use crate::packed::Layout;
use std::arch::x86_64::*;
use std::mem::transmute;
use std::sync::LazyLock;

pub(crate) fn find() -> Found {
    static FOUND: LazyLock<Found> = LazyLock::new(|| {
        if !is_x86_feature_detected!("avx512f") || !is_x86_feature_detected!("avx512bf16") {
            return Err("this processor has no AVX512-BF16");
        }
        checked(Panelled { micro: Avx512Bf16(()), layout: Layout::Pairs { step: 1 } })
    });
    *FOUND
}

/// Proof that this processor has the instruction.
#[derive(Clone, Copy)]
struct Avx512Bf16(());

const ROWS: usize = 14;

impl Micro for Avx512Bf16 {
    type Guard = ();
    const ROWS: usize = ROWS;
    const WORDS: usize = 1;
    const BLOCK_ROWS: usize = 19 * ROWS;
    const BLOCK_LINES: usize = 256;
    const BLOCK_PANELS: usize = 32;

    fn guard(self) {}

    fn panels(rows: usize) -> usize {
        if rows <= 2 { 4 } else { 2 }
    }

    fn pack(self, inputs: &[f32], columns: usize, words: &mut [u32]) {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe { pack(inputs, columns, words) }
    }

    fn tile(self, inputs: &[u32], weights: Panels<'_>, out: Tile<'_>) {
        let tile = match (out.rows, weights.count) {
            (..=2, 4) => tile::<2, 4>,
            (..=4, 2) => tile::<4, 2>,
            (..=8, 2) => tile::<8, 2>,
            (_, 2) => tile::<ROWS, 2>,
            (..=2, _) => tile::<2, 1>,
            (..=8, _) => tile::<8, 1>,
            _ => tile::<ROWS, 1>,
        };
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe { tile(inputs, weights, out) }
    }
}

/// Packs up to [`ROWS`] rows of inputs as pairs of bf16, `[line, ROWS]`: sixteen pairs of every row at a
/// time, as a square of words that is transposed. `PairUp`, of tests alone, is its twin.
#[target_feature(enable = "avx512f,avx512bf16")]
fn pack(inputs: &[f32], columns: usize, words: &mut [u32]) {
    let lines = columns.div_ceil(2);
    assert!(inputs.len() <= ROWS * columns && words.len() >= lines * ROWS);
    for first in (0..lines).step_by(16) {
        let mut square = [_mm512_setzero_si512(); 16];
        for (row, square) in inputs.chunks_exact(columns).zip(&mut square) {
            *square = pairs(&row[2 * first..]);
        }
        store_columns::<ROWS>(square, &mut words[first * ROWS..]);
    }
}

/// The first sixteen pairs of a row, rounded to bf16, ties to even; zeros where it has no more.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs(row: &[f32]) -> __m512i {
    let half = |first: usize| {
        let row = row.get(first..).unwrap_or_default();
        let mask = match row.len() {
            16.. => __mmask16::MAX,
            length => (1 << length) - 1,
        };
        // SAFETY: as many numbers as are not masked.
        unsafe { _mm512_maskz_loadu_ps(mask, row.as_ptr()) }
    };
    let pairs = _mm512_cvtne2ps_pbh(half(16), half(0));
    // SAFETY: a vector of words and one of pairs of bf16 have the same size and all bits are valid.
    unsafe { transmute::<__m512bh, __m512i>(pairs) }
}

/// Up to `R` rows of inputs by `P` panels.
#[expect(clippy::needless_range_loop, reason = "closures of iterators would not be inlined")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn tile<const R: usize, const P: usize>(inputs: &[u32], weights: Panels<'_>, out: Tile<'_>) {
    super::assert_fits(inputs.len(), ROWS, weights, &out, (R.min(out.rows), P));
    let mut sums = [[_mm512_setzero_ps(); P]; R];
    for r in 0..R {
        for p in 0..P {
            if r < out.rows && !out.first {
                let from = out.out[r * out.stride + 16 * p..][..16].as_ptr();
                // SAFETY: sixteen elements.
                sums[r][p] = unsafe { _mm512_loadu_ps(from) };
            }
        }
    }
    let inputs = inputs.as_ptr().cast::<i32>();
    for depth in 0..weights.depth {
        let mut lines = [_mm512_setzero_si512(); P];
        for p in 0..P {
            // SAFETY: each of `P` panels, `stride` lines apart, has `depth` lines.
            lines[p] = unsafe {
                _mm512_loadu_si512(weights.lines.as_ptr().add(p * weights.stride + depth).cast())
            };
        }
        for r in 0..R {
            // SAFETY: for each of `depth` lines, inputs have `ROWS` words.
            let pair = _mm512_set1_epi32(unsafe { *inputs.add(depth * ROWS + r) });
            for p in 0..P {
                sums[r][p] = dot(sums[r][p], pair, lines[p]);
            }
        }
    }
    for r in 0..R {
        for p in 0..P {
            if r < out.rows {
                let to = out.out[r * out.stride + 16 * p..][..16].as_mut_ptr();
                // SAFETY: sixteen elements.
                unsafe { _mm512_storeu_ps(to, sums[r][p]) };
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn dot(sum: __m512, pair: __m512i, line: __m512i) -> __m512 {
    // SAFETY: a vector of words and one of pairs of bf16 have the same size and all bits are valid.
    let [pair, line] =
        unsafe { [transmute::<__m512i, __m512bh>(pair), transmute::<__m512i, __m512bh>(line)] };
    _mm512_dpbf16_ps(sum, pair, line)
}

#[cfg(test)]
mod tests {
    use super::super::portable::PairUp;
    use super::*;
    use llmopt_tensor::simd::Kernel;

    #[test]
    fn inputs_are_packed_as_by_the_portable_twin() {
        if find().is_err() {
            return;
        }
        let special = [0.0, -0.0, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, 1.003_906_2];
        for columns in [1, 2, 15, 31, 32, 33, 64, 577] {
            for rows in [1, 3, ROWS - 1, ROWS] {
                let number = |i: usize| match i % 97 {
                    k if k < special.len() => special[k],
                    _ => ((i * 2_654_435_761) as u32 >> 8) as f32 / 1e6 - 8.0,
                };
                let inputs: Vec<f32> = (0..rows * columns).map(number).collect();
                let mut expected = vec![0; columns.div_ceil(2) * ROWS];
                let mut words = expected.clone();
                PairUp::<ROWS> { inputs: &inputs, columns, words: &mut expected }.run();
                // SAFETY: the kernel was found.
                unsafe { pack(&inputs, columns, &mut words) };
                assert_eq!(words, expected, "{rows} by {columns}");
            }
        }
    }
}
