//! AVX2: eight rows of a line at a time.
//!
//! Products of codes of at most four bits are summed in sixteen bits over four words: 4 * 2 * 15 * 128 is
//! below 2^15. Codes of eight bits would not fit there; they and their inputs are widened to sixteen
//! bits, and pairs of products summed in 32.

#![expect(unsafe_code, reason = "loads and stores of vectors")]

use super::checked;
use crate::codes::{CodeKernel, Panel, STEP, STRIP, Segment, Strip};
use std::arch::x86_64::*;
use std::sync::LazyLock;

pub(super) fn find() -> Option<&'static dyn CodeKernel> {
    static FOUND: LazyLock<Option<&'static dyn CodeKernel>> =
        LazyLock::new(|| is_x86_feature_detected!("avx2").then_some(Avx2(())).and_then(checked));
    *FOUND
}

/// Proof that this processor has the instructions.
struct Avx2(());

impl CodeKernel for Avx2 {
    fn name(&self) -> &'static str {
        "codes avx2"
    }

    fn tile(&self, strip: Strip<'_>, panel: Panel<'_>, out: &mut [[f32; 16]; STRIP]) {
        // A few rows at a time: more would not stay in registers.
        for first in (0..strip.rows).step_by(ROWS) {
            let rows = ROWS.min(strip.rows - first);
            let tile = match (panel.format.bits(), strip.parts) {
                (8, 2) => of_rows::<8, 2>(rows),
                (8, _) => of_rows::<8, 1>(rows),
                (4, 2) => of_rows::<4, 2>(rows),
                (4, _) => of_rows::<4, 1>(rows),
                (_, 2) => of_rows::<2, 2>(rows),
                _ => of_rows::<2, 1>(rows),
            };
            // SAFETY: `self` is proof that the processor has the instructions.
            unsafe { tile(strip, first, panel, out) }
        }
    }
}

/// Rows of inputs whose sums stay in registers.
const ROWS: usize = 4;

type TileFunction = unsafe fn(Strip<'_>, usize, Panel<'_>, &mut [[f32; 16]; STRIP]);

fn of_rows<const BITS: u32, const PARTS: usize>(rows: usize) -> TileFunction {
    match rows {
        1 => tile::<BITS, PARTS, 1>,
        2 => tile::<BITS, PARTS, 2>,
        3 => tile::<BITS, PARTS, 3>,
        _ => tile::<BITS, PARTS, 4>,
    }
}

#[expect(clippy::needless_range_loop, reason = "closures of iterators would not be inlined")]
#[target_feature(enable = "avx2")]
fn tile<const BITS: u32, const PARTS: usize, const R: usize>(
    strip: Strip<'_>,
    first: usize,
    panel: Panel<'_>,
    out: &mut [[f32; 16]; STRIP],
) {
    assert!(first + R <= strip.rows && strip.parts == PARTS && panel.format.bits() == BITS);
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    for (number, segment) in panel.segments().enumerate() {
        let fact = number * strip.rows + first;
        let (of_inputs, totals) = (&strip.scales[fact..][..R], &strip.sums[fact..][..R]);
        for half in 0..2 {
            let products = match BITS {
                8 => wide_products::<PARTS, R>(strip, first, segment, half),
                _ => products::<BITS, PARTS, R>(strip, first, segment, half),
            };
            let scales = _mm256_castsi256_ps(load(segment.scales, half));
            for r in 0..R {
                let shift = match segment.zero_points {
                    Some(line) => {
                        _mm256_mullo_epi32(load(line, half), _mm256_set1_epi32(totals[r]))
                    }
                    None => _mm256_set1_epi32(totals[r] * panel.format.offset()),
                };
                let sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(products[r], shift));
                let scale = _mm256_mul_ps(scales, _mm256_set1_ps(of_inputs[r]));
                sums[r][half] = _mm256_add_ps(sums[r][half], _mm256_mul_ps(sum, scale));
            }
        }
    }
    for r in 0..R {
        for half in 0..2 {
            // SAFETY: eight of sixteen elements.
            unsafe { _mm256_storeu_ps(out[first + r].as_mut_ptr().add(8 * half), sums[r][half]) };
        }
    }
}

/// The inputs of a segment, of the rows from `first` on: parts of rows, each as long as the segment.
#[inline(always)]
fn inputs<'a>(strip: Strip<'a>, first: usize, segment: Segment<'_>, rows: usize) -> &'a [i8] {
    let row = strip.parts * segment.columns;
    &strip.bytes[strip.parts * strip.rows * segment.start + first * row..][..rows * row]
}

/// Sums of codes of at most four bits, counted from the least, times inputs, over a segment.
#[inline]
#[expect(clippy::needless_range_loop, reason = "closures of iterators would not be inlined")]
#[target_feature(enable = "avx2")]
fn products<const BITS: u32, const PARTS: usize, const R: usize>(
    strip: Strip<'_>,
    first: usize,
    segment: Segment<'_>,
    half: usize,
) -> [__m256i; R] {
    let steps = segment.columns / STEP;
    let (lines_of_step, planes) = (BITS as usize / 2, 8 / BITS as usize);
    let words = segment.columns / 4;
    let inputs = inputs(strip, first, segment, R).as_ptr().cast::<i32>();
    let codes = &segment.codes[..steps * lines_of_step];
    let mask = _mm256_set1_epi8((1 << BITS) - 1);
    let ones = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_si256(); PARTS]; R];
    for step in 0..steps {
        let mut narrow = [[_mm256_setzero_si256(); PARTS]; R];
        for word in 0..4 {
            let (line, plane) = (word / planes, word % planes);
            let line = load(&codes[step * lines_of_step + line], half);
            let line = match (BITS, plane) {
                (_, 0) => line,
                (4, _) => _mm256_srli_epi32::<4>(line),
                (_, 1) => _mm256_srli_epi32::<2>(line),
                (_, 2) => _mm256_srli_epi32::<4>(line),
                _ => _mm256_srli_epi32::<6>(line),
            };
            let line = _mm256_and_si256(line, mask);
            for r in 0..R {
                for part in 0..PARTS {
                    let at = (r * PARTS + part) * words + step * 4 + word;
                    // SAFETY: each part of each row has so many words.
                    let x = _mm256_set1_epi32(unsafe { inputs.add(at).read_unaligned() });
                    let pairs = _mm256_maddubs_epi16(line, x);
                    narrow[r][part] = _mm256_add_epi16(narrow[r][part], pairs);
                }
            }
        }
        for r in 0..R {
            for part in 0..PARTS {
                let wide = _mm256_madd_epi16(narrow[r][part], ones);
                sums[r][part] = _mm256_add_epi32(sums[r][part], wide);
            }
        }
    }
    let mut joined = [_mm256_setzero_si256(); R];
    for r in 0..R {
        joined[r] = match PARTS {
            2 => _mm256_add_epi32(_mm256_slli_epi32::<8>(sums[r][0]), sums[r][PARTS - 1]),
            _ => sums[r][0],
        };
    }
    joined
}

/// Sums of codes of eight bits, counted from the least, times inputs, over a segment.
#[inline]
#[expect(clippy::needless_range_loop, reason = "closures of iterators would not be inlined")]
#[target_feature(enable = "avx2")]
fn wide_products<const PARTS: usize, const R: usize>(
    strip: Strip<'_>,
    first: usize,
    segment: Segment<'_>,
    half: usize,
) -> [__m256i; R] {
    let words = segment.columns / 4;
    let inputs = inputs(strip, first, segment, R).as_ptr().cast::<i32>();
    let codes = &segment.codes[..words];
    let zero = _mm256_setzero_si256();
    // Two sums of pairs for each row of weights: rows 0, 1, 4 and 5, then 2, 3, 6 and 7.
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    for word in 0..words {
        let line = load(&codes[word], half);
        let low = _mm256_unpacklo_epi8(line, zero);
        let high = _mm256_unpackhi_epi8(line, zero);
        for r in 0..R {
            let of = |part: usize| {
                // SAFETY: each part of each row has so many words.
                let x = unsafe { inputs.add((r * PARTS + part) * words + word).read_unaligned() };
                _mm256_cvtepi8_epi16(_mm_set1_epi32(x))
            };
            let x = match PARTS {
                2 => _mm256_add_epi16(_mm256_slli_epi16::<8>(of(0)), of(PARTS - 1)),
                _ => of(0),
            };
            sums[r][0] = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(low, x));
            sums[r][1] = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(high, x));
        }
    }
    let mut joined = [_mm256_setzero_si256(); R];
    for r in 0..R {
        joined[r] = _mm256_hadd_epi32(sums[r][0], sums[r][1]);
    }
    joined
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(line: &[u32; 16], half: usize) -> __m256i {
    // SAFETY: eight of sixteen words.
    unsafe { _mm256_loadu_si256(line.as_ptr().add(8 * half).cast()) }
}
