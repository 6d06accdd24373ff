//! AVX2 and FMA: tiles of six rows by sixteen columns in twelve registers.

#![expect(unsafe_code, reason = "loads and stores of vectors")]

use super::portable::Interleave;
use super::{Found, Panelled, checked};
use crate::driver::{Micro, Panels, Tile};
use crate::packed::Layout;
use llmopt_tensor::simd::dispatch;
use std::arch::x86_64::*;
use std::sync::LazyLock;

pub(crate) fn find_f32() -> Found {
    static FOUND: LazyLock<Found> = LazyLock::new(|| Avx2::<1, false>::find(Layout::Single));
    *FOUND
}

pub(crate) fn find_widened() -> Found {
    static FOUND: LazyLock<Found> =
        LazyLock::new(|| Avx2::<2, false>::find(Layout::Pairs { step: 1 }));
    *FOUND
}

pub(crate) fn find_bf16() -> Found {
    static FOUND: LazyLock<Found> =
        LazyLock::new(|| Avx2::<2, true>::find(Layout::Pairs { step: 1 }));
    *FOUND
}

/// Proof that this processor has AVX2 and FMA. Takes lines of so many columns: one of f32, or two of
/// bf16.
#[derive(Clone, Copy)]
struct Avx2<const COLUMNS: usize, const ROUNDED: bool>(());

impl<const COLUMNS: usize, const ROUNDED: bool> Avx2<COLUMNS, ROUNDED> {
    fn find(layout: Layout) -> Found {
        if !is_x86_feature_detected!("avx2") || !is_x86_feature_detected!("fma") {
            return Err("this processor has no AVX2 with FMA");
        }
        checked(Panelled { micro: Self(()), layout })
    }
}

const ROWS: usize = 6;

impl<const COLUMNS: usize, const ROUNDED: bool> Micro for Avx2<COLUMNS, ROUNDED> {
    type Guard = ();
    const ROWS: usize = ROWS;
    const WORDS: usize = COLUMNS;
    const BLOCK_ROWS: usize = 43 * ROWS;
    const BLOCK_LINES: usize = 256 / COLUMNS;
    const BLOCK_PANELS: usize = 16;

    fn guard(self) {}

    /// A row or two meet several panels: sums that wait for themselves leave the units idle.
    fn panels(rows: usize) -> usize {
        match rows {
            1 => 4,
            2 => 2,
            _ => 1,
        }
    }

    fn pack(self, inputs: &[f32], columns: usize, words: &mut [u32]) {
        dispatch(Interleave::<COLUMNS, ROWS, ROUNDED> { inputs, columns, words });
    }

    fn tile(self, inputs: &[u32], weights: Panels<'_>, out: Tile<'_>) {
        let tile = match (out.rows, weights.count) {
            (1, 4) => tile::<COLUMNS, 1, 4>,
            (2, 2) => tile::<COLUMNS, 2, 2>,
            (1, _) => tile::<COLUMNS, 1, 1>,
            (2, _) => tile::<COLUMNS, 2, 1>,
            (3, _) => tile::<COLUMNS, 3, 1>,
            (4, _) => tile::<COLUMNS, 4, 1>,
            (5, _) => tile::<COLUMNS, 5, 1>,
            _ => tile::<COLUMNS, ROWS, 1>,
        };
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe { tile(inputs, weights, out) }
    }
}

/// `R` rows of inputs by `P` panels.
#[expect(clippy::needless_range_loop, reason = "closures of iterators would not be inlined")]
#[target_feature(enable = "avx2,fma")]
fn tile<const COLUMNS: usize, const R: usize, const P: usize>(
    inputs: &[u32],
    weights: Panels<'_>,
    out: Tile<'_>,
) {
    super::assert_fits(inputs.len(), ROWS * COLUMNS, weights, &out, (R, P));
    let mut sums = [[[_mm256_setzero_ps(); 2]; P]; R];
    for r in 0..if out.first { 0 } else { R } {
        for p in 0..P {
            for h in 0..2 {
                // SAFETY: `R` rows of `16 * P` elements, `stride` apart, are in `out`.
                sums[r][p][h] = unsafe {
                    _mm256_loadu_ps(out.out.as_ptr().add(r * out.stride + 16 * p + 8 * h))
                };
            }
        }
    }
    let inputs = inputs.as_ptr().cast::<f32>();
    for depth in 0..weights.depth {
        for column in 0..COLUMNS {
            for p in 0..P {
                // SAFETY: each of `P` panels, `stride` lines apart, has `depth` lines.
                let [low, high] = unsafe {
                    let line = weights.lines.as_ptr().add(p * weights.stride + depth);
                    [
                        line.cast::<__m256i>().read_unaligned(),
                        line.cast::<__m256i>().add(1).read_unaligned(),
                    ]
                };
                let low = part::<COLUMNS>(low, column);
                let high = part::<COLUMNS>(high, column);
                for r in 0..R {
                    // SAFETY: for each of `depth` lines, inputs have `ROWS * COLUMNS` words.
                    let x = unsafe { &*inputs.add((depth * ROWS + r) * COLUMNS + column) };
                    let x = _mm256_broadcast_ss(x);
                    sums[r][p][0] = _mm256_fmadd_ps(x, low, sums[r][p][0]);
                    sums[r][p][1] = _mm256_fmadd_ps(x, high, sums[r][p][1]);
                }
            }
        }
    }
    for r in 0..R {
        for p in 0..P {
            for h in 0..2 {
                // SAFETY: as for the loads.
                unsafe {
                    let out = out.out.as_mut_ptr().add(r * out.stride + 16 * p + 8 * h);
                    _mm256_storeu_ps(out, sums[r][p][h]);
                }
            }
        }
    }
}

/// One column of eight words, as f32.
#[inline]
#[target_feature(enable = "avx2")]
fn part<const COLUMNS: usize>(words: __m256i, column: usize) -> __m256 {
    _mm256_castsi256_ps(match (COLUMNS, column) {
        (1, _) => words,
        (_, 0) => _mm256_slli_epi32::<16>(words),
        _ => _mm256_and_si256(words, _mm256_set1_epi32(0xffff_0000u32 as i32)),
    })
}
