//! AVX-512 VNNI: a line of sixteen rows by four bytes in one instruction.

#![expect(unsafe_code, reason = "loads and stores of vectors")]

use super::checked;
use crate::codes::{CodeKernel, Panel, STEP, STRIP, Segment, Strip};
use std::arch::x86_64::*;
use std::sync::LazyLock;

pub(super) fn find() -> Option<&'static dyn CodeKernel> {
    static FOUND: LazyLock<Option<&'static dyn CodeKernel>> = LazyLock::new(|| {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
        has.then_some(Vnni(())).and_then(checked)
    });
    *FOUND
}

/// Proof that this processor has the instructions.
struct Vnni(());

impl CodeKernel for Vnni {
    fn name(&self) -> &'static str {
        "codes avx512vnni"
    }

    fn tile(&self, strip: Strip<'_>, panel: Panel<'_>, out: &mut [[f32; 16]; STRIP]) {
        let tile = match (panel.format.bits(), strip.parts) {
            (8, 2) => rows::<8, 2>(strip.rows),
            (8, _) => rows::<8, 1>(strip.rows),
            (4, 2) => rows::<4, 2>(strip.rows),
            (4, _) => rows::<4, 1>(strip.rows),
            (_, 2) => rows::<2, 2>(strip.rows),
            _ => rows::<2, 1>(strip.rows),
        };
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe { tile(strip, panel, out) }
    }
}

type TileFunction = unsafe fn(Strip<'_>, Panel<'_>, &mut [[f32; 16]; STRIP]);

fn rows<const BITS: u32, const PARTS: usize>(rows: usize) -> TileFunction {
    match rows {
        1 => tile::<BITS, PARTS, 1, 2>,
        2 => tile::<BITS, PARTS, 2, 2>,
        3 => tile::<BITS, PARTS, 3, 2>,
        4 => tile::<BITS, PARTS, 4, 2>,
        5 => tile::<BITS, PARTS, 5, 1>,
        6 => tile::<BITS, PARTS, 6, 1>,
        7 => tile::<BITS, PARTS, 7, 1>,
        _ => tile::<BITS, PARTS, 8, 1>,
    }
}

/// `R` rows of inputs. Few of them have `SETS` of sums: one that waits for itself leaves the units idle.
#[target_feature(enable = "avx512f,avx512vnni")]
fn tile<const BITS: u32, const PARTS: usize, const R: usize, const SETS: usize>(
    strip: Strip<'_>,
    panel: Panel<'_>,
    out: &mut [[f32; 16]; STRIP],
) {
    assert!(strip.rows == R && strip.parts == PARTS && panel.format.bits() == BITS);
    let mut sums = [_mm512_setzero_ps(); R];
    for (number, segment) in panel.segments().enumerate() {
        let products = products::<BITS, PARTS, R, SETS>(strip, segment);
        let scales = _mm512_castsi512_ps(load(segment.scales));
        let facts = number * R..number * R + R;
        let (of_inputs, totals) = (&strip.scales[facts.clone()], &strip.sums[facts]);
        for r in 0..R {
            let shift = match segment.zero_points {
                Some(line) => _mm512_mullo_epi32(load(line), _mm512_set1_epi32(totals[r])),
                None => _mm512_set1_epi32(totals[r] * panel.format.offset()),
            };
            let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(products[r], shift));
            let scale = _mm512_mul_ps(scales, _mm512_set1_ps(of_inputs[r]));
            sums[r] = _mm512_add_ps(sums[r], _mm512_mul_ps(sum, scale));
        }
    }
    for r in 0..R {
        // SAFETY: sixteen elements.
        unsafe { _mm512_storeu_ps(out[r].as_mut_ptr(), sums[r]) };
    }
}

/// Sums of codes, counted from the least, times inputs, over a segment.
#[inline]
#[expect(clippy::needless_range_loop, reason = "closures of iterators would not be inlined")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn products<const BITS: u32, const PARTS: usize, const R: usize, const SETS: usize>(
    strip: Strip<'_>,
    segment: Segment<'_>,
) -> [__m512i; R] {
    let steps = segment.columns / STEP;
    let lines_of_step = BITS as usize / 2;
    let words = segment.columns / 4;
    let inputs = &strip.bytes[PARTS * R * segment.start..][..PARTS * R * segment.columns];
    let codes = &segment.codes[..steps * lines_of_step];
    let mask = _mm512_set1_epi8(if BITS == 8 { -1 } else { (1 << BITS) - 1 });
    let mut sums = [[[_mm512_setzero_si512(); PARTS]; R]; SETS];
    let inputs = inputs.as_ptr().cast::<i32>();
    for step in 0..steps {
        for word in 0..4 {
            let (line, plane) = (word * lines_of_step / 4, word % (8 / BITS as usize));
            // SAFETY: so many lines are in `codes`; the address of what is fetched early is not read.
            let line = unsafe {
                let line = codes.as_ptr().add(step * lines_of_step + line);
                if plane == 0 {
                    _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(AHEAD).cast());
                }
                _mm512_loadu_si512(line.cast())
            };
            let line = match (BITS, plane) {
                (8, _) => line,
                (_, 0) => _mm512_and_si512(line, mask),
                _ => _mm512_and_si512(shifted::<BITS>(line, plane), mask),
            };
            for r in 0..R {
                for part in 0..PARTS {
                    let at = (r * PARTS + part) * words + step * 4 + word;
                    // SAFETY: each part of each row has so many words.
                    let x = _mm512_set1_epi32(unsafe { inputs.add(at).read_unaligned() });
                    let sum = &mut sums[word % SETS][r][part];
                    *sum = _mm512_dpbusd_epi32(*sum, line, x);
                }
            }
        }
    }
    let mut joined = [_mm512_setzero_si512(); R];
    for r in 0..R {
        let part = |part: usize| match SETS {
            1 => sums[0][r][part],
            _ => _mm512_add_epi32(sums[0][r][part], sums[SETS - 1][r][part]),
        };
        joined[r] = match PARTS {
            2 => _mm512_add_epi32(_mm512_slli_epi32::<8>(part(0)), part(PARTS - 1)),
            _ => part(0),
        };
    }
    joined
}

#[inline]
#[target_feature(enable = "avx512f")]
fn shifted<const BITS: u32>(line: __m512i, plane: usize) -> __m512i {
    match (BITS, plane) {
        (4, _) => _mm512_srli_epi32::<4>(line),
        (_, 1) => _mm512_srli_epi32::<2>(line),
        (_, 2) => _mm512_srli_epi32::<4>(line),
        _ => _mm512_srli_epi32::<6>(line),
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(line: &[u32; 16]) -> __m512i {
    // SAFETY: sixteen words.
    unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
}

/// Lines that are asked for ahead of use.
const AHEAD: usize = 16;
