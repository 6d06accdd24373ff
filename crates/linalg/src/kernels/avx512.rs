//! AVX-512: tiles of fourteen rows by two panels in 28 registers.

#![expect(unsafe_code, reason = "loads and stores of vectors")]

use super::portable::Interleave;
use super::square::store_columns;
use super::{Found, Panelled, checked};
use crate::driver::{Micro, Panels, Tile};
use crate::packed::Layout;
use llmopt_tensor::simd::dispatch;
use std::arch::x86_64::*;
use std::sync::LazyLock;

pub(crate) fn find_f32() -> Found {
    static FOUND: LazyLock<Found> = LazyLock::new(|| Avx512::<1, false>::find(Layout::Single));
    *FOUND
}

pub(crate) fn find_widened() -> Found {
    static FOUND: LazyLock<Found> =
        LazyLock::new(|| Avx512::<2, false>::find(Layout::Pairs { step: 1 }));
    *FOUND
}

pub(crate) fn find_bf16() -> Found {
    static FOUND: LazyLock<Found> =
        LazyLock::new(|| Avx512::<2, true>::find(Layout::Pairs { step: 1 }));
    *FOUND
}

/// Proof that this processor has AVX-512. Takes lines of so many columns: one of f32, or two of bf16.
#[derive(Clone, Copy)]
struct Avx512<const COLUMNS: usize, const ROUNDED: bool>(());

impl<const COLUMNS: usize, const ROUNDED: bool> Avx512<COLUMNS, ROUNDED> {
    fn find(layout: Layout) -> Found {
        if !is_x86_feature_detected!("avx512f") {
            return Err("this processor has no AVX-512");
        }
        checked(Panelled { micro: Self(()), layout })
    }
}

const ROWS: usize = 14;

impl<const COLUMNS: usize, const ROUNDED: bool> Micro for Avx512<COLUMNS, ROUNDED> {
    type Guard = ();
    const ROWS: usize = ROWS;
    const WORDS: usize = COLUMNS;
    const BLOCK_ROWS: usize = 19 * ROWS;
    const BLOCK_LINES: usize = 256 / COLUMNS;
    const BLOCK_PANELS: usize = 32;

    fn guard(self) {}

    fn panels(rows: usize) -> usize {
        if rows <= 2 { 4 } else { 2 }
    }

    fn pack(self, inputs: &[f32], columns: usize, words: &mut [u32]) {
        match COLUMNS {
            // SAFETY: `self` is proof that the processor has the instructions.
            1 => unsafe { pack(inputs, columns, words) },
            _ => dispatch(Interleave::<COLUMNS, ROWS, ROUNDED> { inputs, columns, words }),
        }
    }

    fn tile(self, inputs: &[u32], weights: Panels<'_>, out: Tile<'_>) {
        let tile = match (out.rows, weights.count) {
            (..=2, 4) => tile::<COLUMNS, 2, 4>,
            (..=4, 2) => tile::<COLUMNS, 4, 2>,
            (..=8, 2) => tile::<COLUMNS, 8, 2>,
            (_, 2) => tile::<COLUMNS, ROWS, 2>,
            (..=2, _) => tile::<COLUMNS, 2, 1>,
            (..=8, _) => tile::<COLUMNS, 8, 1>,
            _ => tile::<COLUMNS, ROWS, 1>,
        };
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe { tile(inputs, weights, out) }
    }
}

/// Packs up to [`ROWS`] rows of inputs as f32, `[column, ROWS]`: sixteen columns at a time, as a square of words
/// that is transposed. [`Interleave`] is its twin.
#[target_feature(enable = "avx512f")]
fn pack(inputs: &[f32], columns: usize, words: &mut [u32]) {
    assert!(inputs.len() <= ROWS * columns && words.len() >= columns * ROWS);
    for first in (0..columns).step_by(16) {
        let mask = match columns - first {
            16.. => __mmask16::MAX,
            length => (1 << length) - 1,
        };
        let mut square = [_mm512_setzero_si512(); 16];
        for (row, square) in inputs.chunks_exact(columns).zip(&mut square) {
            // SAFETY: as many numbers as are not masked.
            *square = unsafe { _mm512_maskz_loadu_epi32(mask, row[first..].as_ptr().cast()) };
        }
        store_columns::<ROWS>(square, &mut words[first * ROWS..]);
    }
}

/// Up to `R` rows of inputs by `P` panels.
#[expect(clippy::needless_range_loop, reason = "closures of iterators would not be inlined")]
#[target_feature(enable = "avx512f")]
fn tile<const COLUMNS: usize, const R: usize, const P: usize>(
    inputs: &[u32],
    weights: Panels<'_>,
    out: Tile<'_>,
) {
    super::assert_fits(inputs.len(), ROWS * COLUMNS, weights, &out, (R.min(out.rows), P));
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
    let inputs = inputs.as_ptr().cast::<f32>();
    for depth in 0..weights.depth {
        for column in 0..COLUMNS {
            let mut widened = [_mm512_setzero_ps(); P];
            for p in 0..P {
                // SAFETY: each of `P` panels, `stride` lines apart, has `depth` lines.
                let line = unsafe {
                    _mm512_loadu_si512(
                        weights.lines.as_ptr().add(p * weights.stride + depth).cast(),
                    )
                };
                widened[p] = part::<COLUMNS>(line, column);
            }
            for r in 0..R {
                // SAFETY: for each of `depth` lines, inputs have `ROWS * COLUMNS` words.
                let x = unsafe { *inputs.add((depth * ROWS + r) * COLUMNS + column) };
                for p in 0..P {
                    sums[r][p] = _mm512_fmadd_ps(_mm512_set1_ps(x), widened[p], sums[r][p]);
                }
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

/// One column of a line, as f32.
#[inline]
#[target_feature(enable = "avx512f")]
fn part<const COLUMNS: usize>(words: __m512i, column: usize) -> __m512 {
    _mm512_castsi512_ps(match (COLUMNS, column) {
        (1, _) => words,
        (_, 0) => _mm512_slli_epi32::<16>(words),
        _ => _mm512_and_si512(words, _mm512_set1_epi32(0xffff_0000u32 as i32)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_tensor::simd::Kernel;

    #[test]
    fn inputs_are_packed_as_by_the_portable_twin() {
        if find_f32().is_err() {
            return;
        }
        for columns in [1, 15, 16, 17, 48, 301] {
            for rows in [1, 3, ROWS - 1, ROWS] {
                let inputs: Vec<f32> = (0..rows * columns).map(|i| i as f32 - 7.5).collect();
                let mut expected = vec![0; columns * ROWS];
                let mut words = expected.clone();
                Interleave::<1, ROWS, false> { inputs: &inputs, columns, words: &mut expected }
                    .run();
                // SAFETY: the kernel was found.
                unsafe { pack(&inputs, columns, &mut words) };
                assert_eq!(words, expected, "{rows} by {columns}");
            }
        }
    }
}
