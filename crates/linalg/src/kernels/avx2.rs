//! AVX2 and FMA: tiles of six rows by sixteen columns in twelve registers.

#![expect(unsafe_code, reason = "loads and stores of vectors")]

use super::portable::Interleave;
use super::{Panelled, Product};
use crate::driver::{Micro, Panels, Tile};
use crate::packed::Layout;
use llmopt_tensor::simd::dispatch;
use std::arch::x86_64::*;
use std::sync::LazyLock;

pub(crate) fn find_f32() -> Result<&'static dyn Product, &'static str> {
    static FOUND: LazyLock<Option<Panelled<Avx2<1>>>> =
        LazyLock::new(|| Avx2::find(Layout::Single));
    FOUND.as_ref().map(|product| product as _).ok_or(MISSING)
}

pub(crate) fn find_bf16() -> Result<&'static dyn Product, &'static str> {
    static FOUND: LazyLock<Option<Panelled<Avx2<2>>>> =
        LazyLock::new(|| Avx2::find(Layout::Pairs { step: 1 }));
    FOUND.as_ref().map(|product| product as _).ok_or(MISSING)
}

const MISSING: &str = "this processor has no AVX2 with FMA";

/// Proof that this processor has AVX2 and FMA. Takes lines of so many columns: one of f32, or two of
/// bf16.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const COLUMNS: usize>(());

impl<const COLUMNS: usize> Avx2<COLUMNS> {
    fn find(layout: Layout) -> Option<Panelled<Self>> {
        let here = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        here.then_some(Panelled { micro: Self(()), layout })
    }
}

const ROWS: usize = 6;

impl<const COLUMNS: usize> Micro for Avx2<COLUMNS> {
    const ROWS: usize = ROWS;
    const WORDS: usize = COLUMNS;
    const BLOCK_ROWS: usize = 43 * ROWS;
    const BLOCK_LINES: usize = 256 / COLUMNS;
    const BLOCK_PANELS: usize = 16;

    /// A row or two meet several panels: sums that wait for themselves leave the units idle.
    fn panels(rows: usize) -> usize {
        match rows {
            1 => 4,
            2 => 2,
            _ => 1,
        }
    }

    fn pack(self, inputs: &[f32], columns: usize, words: &mut [u32]) {
        dispatch(Interleave::<COLUMNS, ROWS> { inputs, columns, words });
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
#[target_feature(enable = "avx2,fma")]
fn tile<const COLUMNS: usize, const R: usize, const P: usize>(
    inputs: &[u32],
    weights: Panels<'_>,
    out: Tile<'_>,
) {
    super::assert_fits(inputs.len(), ROWS * COLUMNS, weights, &out, (R, P));
    let mut sums = [[[_mm256_setzero_ps(); 2]; P]; R];
    if !out.first {
        for (r, sums) in sums.iter_mut().enumerate() {
            for (p, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
                // SAFETY: `R` rows of `16 * P` elements, `stride` apart, are in `out`.
                *sum = unsafe { _mm256_loadu_ps(out.out.as_ptr().add(r * out.stride + 8 * p)) };
            }
        }
    }
    super::prefetch(weights.next);
    let inputs = inputs.as_ptr().cast::<f32>();
    for depth in 0..weights.depth {
        let mut halves = [[_mm256_setzero_si256(); 2]; P];
        for (p, halves) in halves.iter_mut().enumerate() {
            for (h, half) in halves.iter_mut().enumerate() {
                // SAFETY: each of `P` panels, `stride` lines apart, has `depth` lines.
                *half = unsafe {
                    let line = weights.lines.as_ptr().add(p * weights.stride + depth);
                    _mm256_loadu_si256(line.cast::<__m256i>().add(h))
                };
            }
        }
        for column in 0..COLUMNS {
            let widened = halves.map(|halves| halves.map(|half| part::<COLUMNS>(half, column)));
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: for each of `depth` lines, inputs have `ROWS * COLUMNS` words.
                let x = unsafe {
                    _mm256_broadcast_ss(&*inputs.add((depth * ROWS + r) * COLUMNS + column))
                };
                for (sum, weights) in sums
                    .iter_mut()
                    .zip(widened)
                    .flat_map(|(sums, weights)| sums.iter_mut().zip(weights))
                {
                    *sum = _mm256_fmadd_ps(x, weights, *sum);
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (p, sum) in sums.as_flattened().iter().enumerate() {
            // SAFETY: as for the loads.
            unsafe { _mm256_storeu_ps(out.out.as_mut_ptr().add(r * out.stride + 8 * p), *sum) };
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
