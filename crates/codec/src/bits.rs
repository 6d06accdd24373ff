//! Dense little-endian bitstreams of signed codes.
//!
//! A code of `bits` bits is stored plus 2^(bits-1), low bits first, and a stream ends on a whole
//! 32-bit word, filled up with zeros. Streams run along the rows of a matrix, or down its columns.

use llmopt_tensor::simd::{Kernel, dispatch};

/// Runs a kernel as compiled for one width.
macro_rules! for_width {
    ($bits:expr, $kernel:ident $fields:tt) => {
        match $bits {
            2 => dispatch($kernel::<2> $fields),
            3 => dispatch($kernel::<3> $fields),
            4 => dispatch($kernel::<4> $fields),
            5 => dispatch($kernel::<5> $fields),
            6 => dispatch($kernel::<6> $fields),
            7 => dispatch($kernel::<7> $fields),
            _ => dispatch($kernel::<8> $fields),
        }
    };
}

/// 32-bit words in a stream of so many codes.
pub(crate) fn words(bits: u8, codes: usize) -> usize {
    let bits = usize::from(bits);
    codes / 32 * bits + (codes % 32 * bits).div_ceil(32)
}

/// A stream for each row of `codes`, `[rows, columns]`.
pub(crate) fn packed_rows(bits: u8, codes: &[i8], columns: usize) -> Vec<u8> {
    let rows = codes.len().checked_div(columns).unwrap_or(0);
    let mut bytes = vec![0; rows * words(bits, columns) * 4];
    let (run, stride) = streams(bits, codes.len(), columns);
    for_width!(bits, Pack { codes, run, bytes: &mut bytes, stride });
    bytes
}

/// The codes of [`packed_rows`], `[rows, columns]`.
pub(crate) fn unpacked_rows(bits: u8, bytes: &[u8], rows: usize, columns: usize) -> Vec<i8> {
    let mut codes = vec![0; rows * columns];
    let (run, stride) = streams(bits, codes.len(), columns);
    for_width!(bits, Unpack { codes: &mut codes, run, bytes, stride });
    codes
}

/// A stream for each column of `codes`, `[rows, columns]`, as words `[words(rows), columns]`.
pub(crate) fn packed_columns(bits: u8, codes: &[i8], columns: usize) -> Vec<u8> {
    let rows = codes.len().checked_div(columns).unwrap_or(0);
    let streams = packed_rows(bits, &transposed(codes, columns, rows), rows);
    let words = streams.as_chunks::<4>().0;
    transposed(words, self::words(bits, rows), columns).into_flattened()
}

/// The codes of [`packed_columns`], `[rows, columns]`.
pub(crate) fn unpacked_columns(bits: u8, bytes: &[u8], rows: usize, columns: usize) -> Vec<i8> {
    let words = bytes.as_chunks::<4>().0;
    let streams = transposed(words, columns, self::words(bits, rows)).into_flattened();
    transposed(&unpacked_rows(bits, &streams, columns, rows), rows, columns)
}

/// Codes and bytes of each stream. Rows that end on a word are one stream together.
fn streams(bits: u8, codes: usize, columns: usize) -> (usize, usize) {
    let whole = (columns * usize::from(bits)).is_multiple_of(32);
    let run = if whole { codes } else { columns };
    // Never zero, for matrices are cut into chunks of these.
    (run.max(1), (words(bits, run) * 4).max(1))
}

/// `matrix`, `[rows, columns]`, as `[columns, rows]`.
fn transposed<T: Copy>(matrix: &[T], columns: usize, rows: usize) -> Vec<T> {
    (0..columns).flat_map(|c| (0..rows).map(move |r| matrix[r * columns + c])).collect()
}

struct Pack<'a, const BITS: usize> {
    codes: &'a [i8],
    /// Codes per stream.
    run: usize,
    bytes: &'a mut [u8],
    /// Bytes per stream.
    stride: usize,
}

impl<const BITS: usize> Kernel for Pack<'_, BITS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let streams = self.bytes.chunks_exact_mut(self.stride);
        for (bytes, codes) in streams.zip(self.codes.chunks_exact(self.run)) {
            match BITS {
                4 => pack_nibbles(codes, bytes),
                8 => pack_bytes(codes, bytes),
                _ => pack_any::<BITS>(codes, bytes),
            }
        }
    }
}

#[inline(always)]
fn pack_bytes(codes: &[i8], bytes: &mut [u8]) {
    for (byte, &code) in bytes.iter_mut().zip(codes) {
        *byte = code as u8 ^ 0x80;
    }
}

#[inline(always)]
fn pack_nibbles(codes: &[i8], bytes: &mut [u8]) {
    let (pairs, last) = codes.as_chunks::<2>();
    for (byte, &[low, high]) in bytes.iter_mut().zip(pairs) {
        *byte = (low as u8 & 0x0f | (high as u8) << 4) ^ 0x88;
    }
    if let ([code], Some(byte)) = (last, bytes.get_mut(pairs.len())) {
        *byte = (*code as u8 & 0x0f) ^ 0x08;
    }
}

/// Eight codes of `BITS` bits are `BITS` bytes.
#[inline(always)]
fn pack_any<const BITS: usize>(codes: &[i8], bytes: &mut [u8]) {
    for (bytes, codes) in bytes.chunks_mut(BITS).zip(codes.chunks(8)) {
        let mut word = 0u64;
        for (i, &code) in codes.iter().enumerate() {
            let stored = (code as u8 ^ 1 << (BITS - 1)) & mask::<BITS>();
            word |= u64::from(stored) << (i * BITS);
        }
        bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
    }
}

struct Unpack<'a, const BITS: usize> {
    codes: &'a mut [i8],
    /// Codes per stream.
    run: usize,
    bytes: &'a [u8],
    /// Bytes per stream.
    stride: usize,
}

impl<const BITS: usize> Kernel for Unpack<'_, BITS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let streams = self.bytes.chunks_exact(self.stride);
        for (bytes, codes) in streams.zip(self.codes.chunks_exact_mut(self.run)) {
            match BITS {
                4 => unpack_nibbles(bytes, codes),
                8 => unpack_bytes(bytes, codes),
                _ => unpack_any::<BITS>(bytes, codes),
            }
        }
    }
}

#[inline(always)]
fn unpack_bytes(bytes: &[u8], codes: &mut [i8]) {
    for (code, &byte) in codes.iter_mut().zip(bytes) {
        *code = (byte ^ 0x80) as i8;
    }
}

#[inline(always)]
fn unpack_nibbles(bytes: &[u8], codes: &mut [i8]) {
    let (pairs, last) = codes.as_chunks_mut::<2>();
    let count = pairs.len();
    for (pair, &byte) in pairs.iter_mut().zip(bytes) {
        *pair = [(byte & 0x0f) as i8 - 8, (byte >> 4) as i8 - 8];
    }
    if let ([code], Some(byte)) = (last, bytes.get(count)) {
        *code = (byte & 0x0f) as i8 - 8;
    }
}

#[inline(always)]
fn unpack_any<const BITS: usize>(bytes: &[u8], codes: &mut [i8]) {
    for (bytes, codes) in bytes.chunks(BITS).zip(codes.chunks_mut(8)) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let word = u64::from_le_bytes(word);
        for (i, code) in codes.iter_mut().enumerate() {
            let stored = (word >> (i * BITS)) as u8 & mask::<BITS>();
            *code = (stored as i8).wrapping_sub(1 << (BITS - 1));
        }
    }
}

const fn mask<const BITS: usize>() -> u8 {
    0xff >> (8 - BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bit by bit, from the definition: code `i` of a stream begins at bit `i * bits`.
    fn slow_stream(bits: u8, codes: &[i8]) -> Vec<u32> {
        let mut stream = vec![0u32; words(bits, codes.len())];
        for (i, &code) in codes.iter().enumerate() {
            let stored = i32::from(code) + (1 << (bits - 1));
            for bit in (0..usize::from(bits)).filter(|bit| stored >> bit & 1 == 1) {
                let position = i * usize::from(bits) + bit;
                stream[position / 32] |= 1 << (position % 32);
            }
        }
        stream
    }

    fn as_words(bytes: &[u8]) -> Vec<u32> {
        bytes.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word)).collect()
    }

    fn codes_of(bits: u8) -> std::ops::RangeInclusive<i8> {
        -(1i16 << (bits - 1)) as i8..=((1i16 << (bits - 1)) - 1) as i8
    }

    #[test]
    fn every_code_of_every_width_at_every_place_of_a_word() {
        for bits in 2..=8u8 {
            for (code, place) in codes_of(bits).flat_map(|c| (0..33).map(move |p| (c, p))) {
                // Neighbours of all zeros and of all ones must both stay as they are.
                for around in [*codes_of(bits).start(), *codes_of(bits).end()] {
                    let mut row = vec![around; 37];
                    row[place] = code;
                    let packed = packed_rows(bits, &row, 37);
                    assert_eq!(as_words(&packed), slow_stream(bits, &row), "{bits} {code} {place}");
                    assert_eq!(unpacked_rows(bits, &packed, 1, 37), row, "{bits} {code} {place}");
                }
            }
        }
    }

    /// The vectors were made by compressed-tensors 0.19.
    #[test]
    fn rows_pack_as_in_compressed_tensors() {
        let check = |bits, row: &[i8], expected: &[u32]| {
            assert_eq!(as_words(&packed_rows(bits, row, row.len())), expected, "{bits} {row:?}");
        };
        check(4, &[-8, -7, -6, -5, -4, -3, -2, -1], &[0x7654_3210]);
        check(4, &[0, 1, 2, 3, 4, 5, 6, 7], &[0xfedc_ba98]);
        check(4, &[-8, 7, 0, 1, -1], &[0x0007_98f0]);
        check(8, &[-128, -1, 0, 127], &[0xff80_7f00]);
        check(8, &[1, 2, 3, 4], &[0x8483_8281]);
        check(2, &[-2, -1, 0, 1].repeat(4), &[0xe4e4_e4e4]);
        check(3, &[-4, 3].repeat(6), &[0x38e3_8e38, 0xe]);
        check(3, &[3; 11], &[0xffff_ffff, 0x1]);
        let ramp = |modulus: i8| (0..32).map(|i| i % modulus - modulus / 2).collect::<Vec<i8>>();
        check(3, &ramp(8), &[0x88fa_c688, 0xc688_fac6, 0xfac6_88fa]);
        check(5, &ramp(32), &[0x8a41_8820, 0xc5a9_2839, 0xca30_7b9a, 0x38bd_ab49, 0xffbb_cdeb]);
        check(
            6,
            &ramp(64),
            &[0x440c_2040, 0xa248_1c61, 0x3ce3_4c2c, 0x544d_2450, 0xa658_5d65, 0x7de7_5c6d],
        );
    }

    /// The vectors were made by compressed-tensors 0.19.
    #[test]
    fn columns_pack_as_in_compressed_tensors() {
        let check = |bits, columns: &[&[i8]], expected: &[u32]| {
            let (rows, columns) = (columns[0].len(), columns.concat());
            let codes = transposed(&columns, rows, columns.len() / rows);
            let packed = packed_columns(bits, &codes, columns.len() / rows);
            assert_eq!(as_words(&packed), expected);
            assert_eq!(unpacked_columns(bits, &packed, rows, columns.len() / rows), codes);
        };
        check(
            4,
            &[&[-8, -7, -6, -5, -4, -3, -2, -1], &[0, 1, 2, 3, 4, 5, 6, 7]],
            &[0x7654_3210, 0xfedc_ba98],
        );
        check(8, &[&[-128, -1, 0, 127], &[0, 1, 2, 3]], &[0xff80_7f00, 0x8382_8180]);
        check(4, &[&[-8, 7, 0]], &[0x0000_08f0]);
        check(2, &[&[-2, -1, 0, 1, 1]], &[0x0000_03e4]);
        check(
            3,
            &[&[-4, -3, -2, -1, 0, 1, 2, 3, -4, -3, -2], &[3, 2, 1, 0, -1, -2, -3, -4, 3, 2, 1]],
            &[0x88fa_c688, 0x7705_3977, 0x0, 0x1],
        );
    }

    #[test]
    fn no_codes_are_no_bytes() {
        assert!(packed_rows(4, &[], 0).is_empty() && packed_rows(3, &[], 5).is_empty());
        assert!(unpacked_rows(4, &[], 0, 8).is_empty() && packed_columns(8, &[], 2).is_empty());
    }

    proptest! {
        #[test]
        fn matrices_of_any_size_pack_as_their_slow_twin(
            bits in 2..=8u8, rows in 1..6usize, columns in 1..71usize, seed in any::<u32>()
        ) {
            let span = 1i64 << bits;
            let code = |i: usize| (i64::from(seed) + i as i64 * 2_654_435_761) / 97 % span - span / 2;
            let codes: Vec<i8> = (0..rows * columns).map(|i| code(i) as i8).collect();
            let slow: Vec<u32> =
                codes.chunks(columns).flat_map(|row| slow_stream(bits, row)).collect();
            let packed = packed_rows(bits, &codes, columns);
            prop_assert_eq!(as_words(&packed), slow);
            prop_assert_eq!(&unpacked_rows(bits, &packed, rows, columns), &codes);
            let down = packed_columns(bits, &codes, columns);
            prop_assert_eq!(down.len(), words(bits, rows) * columns * 4);
            prop_assert_eq!(unpacked_columns(bits, &down, rows, columns), codes);
        }
    }
}
