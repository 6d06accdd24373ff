//! `pack-quantized`: integer weights alone, in 32-bit words.
//!
//! Codes are a bitstream along each row, zero points one down each column of groups.

use crate::bits::{packed_columns, packed_rows, unpacked_columns, unpacked_rows, words};
use crate::codec::{check_lengths, tiles};
use crate::{Codec, DecodeError, FormatRow, Part, PartRow, Unsupported, scales};
use llmopt_scheme::{Activations, Granularity, Grid, Levels, Numeric, QuantizedMatrix, Scheme};
use llmopt_tensor::Dtype;

/// The layout called `pack-quantized`.
pub(crate) struct PackQuantized;

const FORMAT: FormatRow = FormatRow {
    format: "pack-quantized",
    schemes: "integer weights of 2 to 8 bits, per channel or group, symmetric or asymmetric; \
              activations as they are",
    parts: &[
        PartRow {
            name: "weight_packed",
            dtype: "I32",
            shape: "[N, ceil(K*b/32)]",
            content: "code + 2^(b-1), along the row, low bits first, zeros to the end of the word",
        },
        PartRow {
            name: "weight_scale",
            dtype: "the model's",
            shape: "[N, K/g]; per channel [N, 1]",
            content: "weight = scale * (code - zero point)",
        },
        PartRow {
            name: "weight_zero_point",
            dtype: "I32",
            shape: "[ceil(N*b/32), K/g]; per channel [ceil(N*b/32), 1]",
            content: "asymmetric only: zero point + 2^(b-1), down the column",
        },
        PartRow { name: "weight_shape", dtype: "I64", shape: "[2]", content: "N, K" },
    ],
};

impl Codec for PackQuantized {
    fn format(&self) -> &'static str {
        FORMAT.format
    }

    fn layout(
        &self,
        scheme: &Scheme,
        scale_dtype: Dtype,
        rows: usize,
        columns: usize,
    ) -> Result<Vec<Part>, Unsupported> {
        let bits = width(scheme)?;
        let tiles = tiles(scheme, scale_dtype, rows, columns)?;
        let scale_shape = [tiles.down(), tiles.across()];
        let mut parts = vec![
            Part::rows("weight_packed", Dtype::I32, [rows, words(bits, columns)])?,
            Part::rows("weight_scale", scale_dtype, scale_shape)?,
        ];
        if !scheme.symmetric {
            let shape = [words(bits, rows), tiles.across()];
            parts.push(Part::rows("weight_zero_point", Dtype::I32, shape)?);
        }
        parts.push(Part::once("weight_shape", Dtype::I64, [2])?);
        Ok(parts)
    }

    fn row_step(&self, scheme: &Scheme) -> usize {
        // Each column of zero points is a stream of words, and a band needs whole ones: those of 3
        // bits end on a word every 32 rows, after 3 words, those of 6 every 16, after 3.
        if scheme.symmetric { 1 } else { 32 >> scheme.weights.bits().trailing_zeros().min(5) }
    }

    fn encode(
        &self,
        band: &QuantizedMatrix,
        rows_in_all: usize,
        scale_dtype: Dtype,
    ) -> Vec<Vec<u8>> {
        let Grid { levels, tiles, scales, zero_points } = &band.grid;
        let bits = width_of(*levels);
        let mut parts = vec![
            packed_rows(bits, &band.codes, band.columns()),
            scales::encode(scales, scale_dtype),
        ];
        if !zero_points.is_empty() {
            parts.push(packed_columns(bits, zero_points, tiles.across()));
        }
        let shape = [rows_in_all, band.columns()].map(|axis| (axis as i64).to_le_bytes());
        parts.push(shape.concat());
        parts
    }

    fn decode(
        &self,
        scheme: &Scheme,
        scale_dtype: Dtype,
        rows: usize,
        columns: usize,
        parts: &[&[u8]],
    ) -> Result<QuantizedMatrix, DecodeError> {
        let bits = width(scheme)?;
        check_lengths(&self.layout(scheme, scale_dtype, rows, columns)?, parts)?;
        let [packed, scales, zero_points @ .., shape] = parts else {
            return Err(DecodeError::Parts { expected: 3, found: parts.len() });
        };
        check_shape(shape, rows, columns)?;
        let tiles = tiles(scheme, scale_dtype, rows, columns)?;
        let zero_points = match zero_points {
            [zero_points] => unpacked_columns(bits, zero_points, tiles.down(), tiles.across()),
            _ => Vec::new(),
        };
        let scales = scales::decode(scales, scale_dtype, tiles)?;
        let grid = Grid { levels: Levels::new(scheme.weights), tiles, scales, zero_points };
        let codes = unpacked_rows(bits, packed, rows, columns);
        let matrix = QuantizedMatrix { grid, codes };
        scales::check_zeros(&matrix, scheme.weights)?;
        Ok(matrix)
    }

    fn describe(&self) -> FormatRow {
        FORMAT
    }
}

/// Rows and columns of the whole matrix, as `weight_shape` has them; `None` if they are no shape.
pub fn stored_shape(bytes: &[u8]) -> Option<[usize; 2]> {
    let [rows, columns] = axes(bytes)?;
    Some([rows.try_into().ok()?, columns.try_into().ok()?])
}

/// The width of a code, if all of the scheme can be stored.
fn width(scheme: &Scheme) -> Result<u8, Unsupported> {
    let why = match (scheme.weights, scheme.granularity, scheme.activations) {
        (Numeric::E4m3, ..) => "its codes are integers",
        (_, Granularity::Block { .. }, _) => "its scales are per channel or group",
        (_, _, activation) if activation != Activations::None => "it quantizes weights alone",
        (Numeric::Int { bits: bits @ 2..=8 }, ..) => return Ok(bits),
        _ => "its codes have 2 to 8 bits",
    };
    Err(Unsupported::Scheme { format: FORMAT.format, scheme: scheme.to_string(), why })
}

/// The width of the codes of integer levels.
fn width_of(levels: Levels) -> u8 {
    match levels {
        Levels::Integer { high, .. } => 8 - high.leading_zeros() as u8 + 1,
        Levels::E4m3 => 8,
    }
}

/// A band knows its own rows only; the matrix may have more.
fn check_shape(bytes: &[u8], rows: usize, columns: usize) -> Result<(), DecodeError> {
    match (stored_shape(bytes), axes(bytes)) {
        (Some([all, row]), _) if all >= rows && row == columns => Ok(()),
        (_, found) => Err(DecodeError::StoredShape {
            expected: [rows, columns],
            found: found.unwrap_or_default(),
        }),
    }
}

fn axes(bytes: &[u8]) -> Option<[i64; 2]> {
    match bytes.as_chunks::<8>() {
        ([rows, columns], []) => Some([i64::from_le_bytes(*rows), i64::from_le_bytes(*columns)]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_bands, matrix, of_bits};
    use proptest::prelude::*;

    fn scheme(bits: u8, granularity: Granularity, symmetric: bool) -> Scheme {
        let activations = Activations::None;
        Scheme { weights: Numeric::Int { bits }, granularity, symmetric, activations }
    }

    /// x = -8.0, -7.5, ..., 7.5 as compressed-tensors 0.19 quantizes and packs it.
    #[test]
    fn the_vectors_of_compressed_tensors_decode_and_come_back() {
        let x: Vec<f32> = (0..32).map(|i| i as f32 * 0.5 - 8.0).collect();
        let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
        let check = |scheme: Scheme, rows: usize, scales: &[f32], zeros: &[u32], packed: &[u32]| {
            let mut parts = vec![words(packed), scales::encode(scales, Dtype::F32)];
            if !zeros.is_empty() {
                parts.push(words(zeros));
            }
            parts.push([rows as u64, 32].map(u64::to_le_bytes).concat());
            let views: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let matrix = PackQuantized.decode(&scheme, Dtype::F32, rows, 32, &views);
            let matrix = matrix.expect("a vector");
            let mut values = vec![0.0; rows * 32];
            matrix.dequantize_into(&mut values);
            for (i, value) in values.iter().enumerate() {
                let expected = if i < 32 { x[i] } else { x[i - 32].abs() };
                // Half a step, and the clamped end of the symmetric grid.
                assert!((value - expected).abs() < scales[0] * 0.6, "{i} {value} {expected}");
            }
            assert_eq!(PackQuantized.encode(&matrix, rows, Dtype::F32), parts);
        };
        let (group, half) = (Granularity::Group(32), Granularity::Group(16));
        let symmetric = [0x4332_2111, 0x8776_6554, 0xbbaa_9988, 0xffee_ddcc];
        check(scheme(4, group, true), 1, &[1.066_666_7], &[], &symmetric);
        let asymmetric = [0x4332_2110, 0x8776_6554, 0xbbaa_9988, 0xffee_ddcc];
        check(scheme(4, group, false), 1, &[1.033_333_3], &[8], &asymmetric);
        let halves = [
            [0x7654_3210, 0xedcb_a988, 0x7654_3210, 0xfedc_ba98],
            [0x89ab_cdef, 0x1234_5677, 0x7654_3210, 0xfedc_ba98],
        ];
        let scales = [0.533_333_36, 0.5, 0.533_333_36, 0.5];
        check(scheme(4, half, false), 2, &scales, &[0xf, 0x0], &halves.concat());
        // Three bits cross words, in the zero points of eleven rows and more, too.
        let ramp = [0xd249_1249, 0xdb24_91b6, 0xfffd_b6d6];
        check(scheme(3, group, true), 1, &[2.285_714_4], &[], &ramp);
        let channels = [ramp, [0x76db_7fff, 0xdb24_92db, 0xfffd_b6d6]];
        check(scheme(3, Granularity::Channel, true), 2, &[2.285_714_4; 2], &[], &channels.concat());
        let halves =
            [[0x246d_2240, 0x2240_fb5b, 0xff6b_646d], [0xdb92_ddbf, 0x2240_04a4, 0xff6b_646d]];
        let scales = [1.142_857_2, 1.071_428_5, 1.142_857_2, 1.071_428_5];
        check(scheme(3, half, false), 2, &scales, &[0x7, 0x0], &halves.concat());
        let halves = [[0xfaaa_5540, 0xfeaa_5540], [0x0556_aabf, 0xfeaa_5540]];
        let scales = [2.666_666_7, 2.5, 2.666_666_7, 2.5];
        check(scheme(2, half, false), 2, &scales, &[0x3, 0x0], &halves.concat());
    }

    /// Codes from the lowest to the highest and over again, as compressed-tensors 0.18 packs them.
    #[test]
    fn widths_that_divide_no_word_cross_its_end() {
        let check = |bits: u8, expected: &[u32]| {
            let half = 1 << (bits - 1);
            let codes: Vec<i8> = (0..32).map(|i| (i % (2 * half) - half) as i8).collect();
            let bytes: Vec<u8> = expected.iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(packed_rows(bits, &codes, 32), bytes, "{bits} bits");
            assert_eq!(unpacked_rows(bits, &bytes, 1, 32), codes, "{bits} bits");
        };
        check(3, &[0x88fa_c688, 0xc688_fac6, 0xfac6_88fa]);
        check(5, &[0x8a41_8820, 0xc5a9_2839, 0xca30_7b9a, 0x38bd_ab49, 0xffbb_cdeb]);
        let six = [0x440c_2040, 0xa248_1c61, 0x3ce3_4c2c, 0x544d_2450, 0xa658_5d65, 0x7de7_5c6d];
        check(6, &six);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn bands_are_the_matrix_for_any_size(
            bits in 2..=8u8,
            symmetric: bool,
            rows in 1..70usize,
            group in 1..40usize,
            groups in 1..4usize,
        ) {
            for granularity in [Granularity::Channel, Granularity::Group(group)] {
                let scheme = scheme(bits, granularity, symmetric);
                check_bands(&PackQuantized, &scheme, rows, group * groups);
            }
        }
    }

    #[test]
    fn symmetric_matrices_have_no_zero_points() {
        let names = |symmetric| {
            let scheme = scheme(4, Granularity::Group(32), symmetric);
            let parts = PackQuantized.layout(&scheme, Dtype::F16, 13, 96).expect("supported");
            parts.iter().map(|part| format!("{} {}", part.suffix, part.meta)).collect::<Vec<_>>()
        };
        let symmetric =
            ["weight_packed I32 [13, 12]", "weight_scale F16 [13, 3]", "weight_shape I64 [2]"];
        assert_eq!(names(true), symmetric);
        assert_eq!(names(false)[2], "weight_zero_point I32 [2, 3]");
        let scheme = scheme(3, Granularity::Channel, false);
        let parts = PackQuantized.layout(&scheme, Dtype::F16, 11, 43).expect("supported");
        let shapes: Vec<_> = parts.iter().map(|part| part.meta.shape().to_vec()).collect();
        assert_eq!(shapes, [vec![11, 5], vec![11, 1], vec![2, 1], vec![2]]);
    }

    #[test]
    fn what_cannot_be_stored_is_refused_by_name() {
        let check = |scheme: Scheme, rows, columns, expected: &str| {
            let error = PackQuantized.layout(&scheme, Dtype::BF16, rows, columns);
            assert_eq!(error.expect_err(expected).to_string(), expected);
        };
        let group = Granularity::Group(32);
        check(
            scheme(9, group, true),
            4,
            32,
            "`pack-quantized` cannot store w9a16 g32: its codes have 2 to 8 bits",
        );
        let int8 = Scheme { activations: Activations::Int8Token, ..scheme(8, group, true) };
        check(int8, 4, 32, "`pack-quantized` cannot store w8a8 g32: it quantizes weights alone");
        check(
            scheme(4, group, true),
            4,
            48,
            "a row of 48 columns is no whole number of groups of 32",
        );
        check(scheme(4, group, true), 0, 32, "a matrix of 0 rows and 32 columns holds no weight");
        check(
            scheme(4, Granularity::Channel, true),
            usize::MAX,
            usize::MAX,
            "the shape's product overflows",
        );
    }

    #[test]
    fn bytes_that_are_no_such_matrix_are_refused() {
        let scheme = scheme(4, Granularity::Group(8), true);
        let good = PackQuantized.encode(&matrix(&scheme, 3, 16), 3, Dtype::F32);
        let check = |part: usize, bytes: Vec<u8>, expected: &str| {
            let mut parts = good.clone();
            parts[part] = bytes;
            let views: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let error = PackQuantized.decode(&scheme, Dtype::F32, 3, 16, &views);
            assert_eq!(error.expect_err(expected).to_string(), expected);
        };
        let scales = |last: f32| {
            scales_of(&good[1], last).iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>()
        };
        check(0, vec![0; 20], "`weight_packed` has 20 bytes, expected 24");
        check(1, scales(f32::NAN), "`weight_scale` is NaN at [2, 1]");
        check(1, scales(f32::INFINITY), "`weight_scale` is inf at [2, 1]");
        check(1, scales(0.0), "`weight_scale` is zero at [2, 1], but codes there are not");
        let shape = |shape: [i64; 2]| shape.map(i64::to_le_bytes).concat();
        check(2, shape([3, 15]), "`weight_shape` is [3, 15], expected [3, 16]");
        check(2, shape([2, 16]), "`weight_shape` is [2, 16], expected [3, 16]");
        check(2, shape([-3, 16]), "`weight_shape` is [-3, 16], expected [3, 16]");
        let views: Vec<&[u8]> = good[..2].iter().map(Vec::as_slice).collect();
        let error = PackQuantized.decode(&scheme, Dtype::F32, 3, 16, &views).expect_err("two");
        assert_eq!(error.to_string(), "2 parts, expected 3");
    }

    fn scales_of(bytes: &[u8], last: f32) -> Vec<f32> {
        let mut scales: Vec<f32> =
            bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        scales[5] = last;
        scales
    }

    #[test]
    fn a_scale_of_zero_is_fine_where_every_code_is_the_zero_point() {
        let scheme = scheme(4, Granularity::Group(8), false);
        let mut zeros = matrix(&scheme, 3, 16);
        zeros.grid.scales[1] = 0.0;
        zeros.codes[8..16].fill(zeros.grid.zero_points[1]);
        let parts = PackQuantized.encode(&zeros, 3, Dtype::BF16);
        let views: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        assert_eq!(PackQuantized.decode(&scheme, Dtype::BF16, 3, 16, &views), Ok(zeros));
    }

    #[test]
    fn widths_are_told_from_levels() {
        for bits in 2..=8 {
            assert_eq!(width_of(of_bits(bits)), bits);
        }
    }
}
