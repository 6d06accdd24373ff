//! A square of sixteen by sixteen words, transposed in the registers of AVX-512.

#![expect(unsafe_code, reason = "stores of vectors")]

use std::arch::x86_64::*;

/// Writes the columns of a square, the first `ROWS` words of each after the other, as far as there is room.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store_columns<const ROWS: usize>(square: [__m512i; 16], words: &mut [u32]) {
    let of_rows = (1 << ROWS) - 1;
    for (line, words) in transposed(square).into_iter().zip(words.chunks_exact_mut(ROWS)) {
        // SAFETY: as many words as are not masked.
        unsafe { _mm512_mask_storeu_epi32(words.as_mut_ptr().cast(), of_rows, line) };
    }
}

/// Rows become columns: first in squares of four by four, then of these.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(square: [__m512i; 16]) -> [__m512i; 16] {
    let mut words = square;
    for i in (0..16).step_by(4) {
        let [a, b, c, d] = [square[i], square[i + 1], square[i + 2], square[i + 3]];
        let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (next_low, next_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        words[i] = _mm512_unpacklo_epi64(low, next_low);
        words[i + 1] = _mm512_unpackhi_epi64(low, next_low);
        words[i + 2] = _mm512_unpacklo_epi64(high, next_high);
        words[i + 3] = _mm512_unpackhi_epi64(high, next_high);
    }
    let mut lines = words;
    for j in 0..4 {
        let [a, b, c, d] = [words[j], words[4 + j], words[8 + j], words[12 + j]];
        let even = [shuffled::<0x88>(a, b), shuffled::<0x88>(c, d)];
        let odd = [shuffled::<0xdd>(a, b), shuffled::<0xdd>(c, d)];
        lines[j] = shuffled::<0x88>(even[0], even[1]);
        lines[8 + j] = shuffled::<0xdd>(even[0], even[1]);
        lines[4 + j] = shuffled::<0x88>(odd[0], odd[1]);
        lines[12 + j] = shuffled::<0xdd>(odd[0], odd[1]);
    }
    lines
}

/// Two quarters of each.
#[inline]
#[target_feature(enable = "avx512f")]
fn shuffled<const WHICH: i32>(a: __m512i, b: __m512i) -> __m512i {
    _mm512_shuffle_i32x4::<WHICH>(a, b)
}
