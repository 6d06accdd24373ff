//! `float-quantized`: E4M3 weights, a byte each, with a scale per channel or per block.

use crate::codec::{check_lengths, tiles};
use crate::{Codec, DecodeError, FormatRow, Part, PartRow, Unsupported, scales};
use llmopt_scheme::{Activations, Granularity, Grid, Levels, Numeric, QuantizedMatrix, Scheme};
use llmopt_tensor::Dtype;

/// The layout called `float-quantized`.
pub(crate) struct FloatQuantized;

const FORMAT: FormatRow = FormatRow {
    format: "float-quantized",
    schemes: "E4M3 weights, per channel with E4M3 activations per token, or in blocks with E4M3 \
              activations per group",
    parts: &[
        PartRow { name: "weight", dtype: "F8_E4M3", shape: "[N, K]", content: "the codes" },
        PartRow {
            name: "weight_scale",
            dtype: "the model's",
            shape: "[N, 1]; blocks of h by w [ceil(N/h), ceil(K/w)]",
            content: "weight = scale * code",
        },
    ],
};

impl Codec for FloatQuantized {
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
        check_scheme(scheme)?;
        let tiles = tiles(scheme, scale_dtype, rows, columns)?;
        let scale_shape = [tiles.down(), tiles.across()];
        Ok(vec![
            Part::rows("weight", Dtype::F8E4M3, [rows, columns])?,
            // [N, 1], never [N]: one axis would be broadcast along the wrong one.
            Part::rows("weight_scale", scale_dtype, scale_shape)?,
        ])
    }

    fn row_step(&self, scheme: &Scheme) -> usize {
        match scheme.granularity {
            Granularity::Block { rows, .. } => rows.max(1),
            Granularity::Channel | Granularity::Group(_) => 1,
        }
    }

    fn encode(&self, band: &QuantizedMatrix, _: usize, scale_dtype: Dtype) -> Vec<Vec<u8>> {
        let codes = band.codes.iter().map(|&code| code as u8).collect();
        vec![codes, scales::encode(&band.grid.scales, scale_dtype)]
    }

    fn decode(
        &self,
        scheme: &Scheme,
        scale_dtype: Dtype,
        rows: usize,
        columns: usize,
        parts: &[&[u8]],
    ) -> Result<QuantizedMatrix, DecodeError> {
        check_lengths(&self.layout(scheme, scale_dtype, rows, columns)?, parts)?;
        let [codes, scales] = parts else {
            return Err(DecodeError::Parts { expected: 2, found: parts.len() });
        };
        check_codes(codes, columns)?;
        let tiles = tiles(scheme, scale_dtype, rows, columns)?;
        let scales = scales::decode(scales, scale_dtype, tiles)?;
        let levels = Levels::new(scheme.weights);
        let grid = Grid { levels, tiles, scales, zero_points: Vec::new() };
        let codes = codes.iter().map(|&byte| byte as i8).collect();
        let matrix = QuantizedMatrix { grid, codes };
        scales::check_zeros(&matrix, scheme.weights)?;
        Ok(matrix)
    }

    fn describe(&self) -> FormatRow {
        FORMAT
    }
}

fn check_scheme(scheme: &Scheme) -> Result<(), Unsupported> {
    let why = match (scheme.weights, scheme.granularity, scheme.activations) {
        (Numeric::Int { .. }, ..) => "its codes are E4M3",
        _ if !scheme.symmetric => "it has no zero points",
        (_, Granularity::Group(_), _) => "its scales are per channel or per block",
        (_, Granularity::Channel, Activations::Fp8Token | Activations::None)
        | (_, Granularity::Block { .. }, Activations::Fp8Group(_) | Activations::None) => {
            return Ok(());
        }
        _ => "its activations are E4M3, per token with channels and per group with blocks",
    };
    Err(Unsupported::Scheme { format: FORMAT.format, scheme: scheme.to_string(), why })
}

/// Refuses the two codes that are NaN.
fn check_codes(codes: &[u8], columns: usize) -> Result<(), DecodeError> {
    match codes.iter().position(|code| code & 0x7f == 0x7f) {
        Some(i) => Err(DecodeError::NanCode { row: i / columns, column: i % columns }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bytes, check_bands};

    fn preset(name: &str) -> Scheme {
        Scheme::preset(name).expect("a preset")
    }

    /// x = -8.0, -7.5, ..., 7.5 as compressed-tensors 0.19 quantizes it.
    #[test]
    fn the_vector_of_compressed_tensors_decodes_and_comes_back() {
        let codes = bytes("fefdfcfbfafaf9f8f6f4f2f1eeeae6de005e666a6e7172747678797a7a7b7c7d");
        let scales = 0.017_857_144f32.to_le_bytes();
        let matrix = FloatQuantized.decode(&preset("fp8"), Dtype::F32, 1, 32, &[&codes, &scales]);
        let matrix = matrix.expect("a vector");
        for (column, &code) in matrix.codes.iter().enumerate() {
            let x = column as f32 * 0.5 - 8.0;
            let error = matrix.grid.value(0, column, code) - x;
            // Three bits of significand: half a step is at most 1/16 of the value.
            assert!(error.abs() <= x.abs() / 16.0, "{column} {error}");
        }
        assert_eq!(FloatQuantized.encode(&matrix, 1, Dtype::F32), [codes, scales.to_vec()]);
    }

    #[test]
    fn bands_are_the_matrix_for_sizes_that_divide_nothing() {
        for (rows, columns) in [(1, 1), (127, 51), (300, 131)] {
            check_bands(&FloatQuantized, &preset("fp8"), rows, columns);
            check_bands(&FloatQuantized, &preset("fp8-block"), rows, columns);
        }
    }

    #[test]
    fn blocks_at_the_edge_have_a_scale_of_their_own() {
        let parts = FloatQuantized.layout(&preset("fp8-block"), Dtype::BF16, 129, 100);
        let shapes: Vec<_> = parts.expect("supported").iter().map(|p| p.meta.to_string()).collect();
        assert_eq!(shapes, ["F8_E4M3 [129, 100]", "BF16 [2, 1]"]);
        let parts = FloatQuantized.layout(&preset("fp8"), Dtype::BF16, 129, 100);
        assert_eq!(parts.expect("supported")[1].meta.to_string(), "BF16 [129, 1]");
    }

    #[test]
    fn what_cannot_be_stored_is_refused_by_name() {
        let check = |scheme: Scheme, expected: &str| {
            let error = FloatQuantized.layout(&scheme, Dtype::BF16, 4, 32).expect_err(expected);
            assert_eq!(error.to_string(), format!("`float-quantized` cannot store {expected}"));
        };
        let fp8 = preset("fp8");
        check(Scheme { symmetric: false, ..fp8 }, "fp8 asymmetric: it has no zero points");
        let granularity = Granularity::Group(32);
        check(Scheme { granularity, ..fp8 }, "fp8 g32: its scales are per channel or per block");
        check(Scheme { weights: Numeric::Int { bits: 8 }, ..fp8 }, "w8afp8: its codes are E4M3");
        check(
            Scheme { activations: Activations::Int8Token, ..fp8 },
            "fp8a8: its activations are E4M3, per token with channels and per group with blocks",
        );
    }

    #[test]
    fn codes_that_are_nan_are_refused_with_their_place() {
        let mut codes = [0u8; 12];
        codes[7] = 0xff;
        let scales = [0x80, 0x3f].repeat(3);
        let error = FloatQuantized.decode(&preset("fp8"), Dtype::BF16, 3, 4, &[&codes, &scales]);
        assert_eq!(error.expect_err("NaN").to_string(), "`weight` is NaN at [1, 3]");
    }
}
