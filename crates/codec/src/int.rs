//! `int-quantized`: int8 weights for int8 activations, a byte each.

use crate::codec::{check_lengths, tiles};
use crate::{Codec, DecodeError, FormatRow, Part, PartRow, Unsupported, scales};
use llmopt_scheme::{Activations, Granularity, Grid, Levels, Numeric, QuantizedMatrix, Scheme};
use llmopt_tensor::Dtype;

/// The layout called `int-quantized`.
pub(crate) struct IntQuantized;

const FORMAT: FormatRow = FormatRow {
    format: "int-quantized",
    schemes: "int8 weights, symmetric, per channel; int8 activations per token",
    parts: &[
        PartRow {
            name: "weight",
            dtype: "I8",
            shape: "[N, K]",
            content: "the codes, two's complement",
        },
        PartRow {
            name: "weight_scale",
            dtype: "the model's",
            shape: "[N, 1]",
            content: "weight = scale * code",
        },
    ],
};

impl Codec for IntQuantized {
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
            Part::rows("weight", Dtype::I8, [rows, columns])?,
            Part::rows("weight_scale", scale_dtype, scale_shape)?,
        ])
    }

    fn row_step(&self, _: &Scheme) -> usize {
        1
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
        (Numeric::Int { bits: 8 }, Granularity::Channel, Activations::Int8Token)
            if scheme.symmetric =>
        {
            return Ok(());
        }
        (Numeric::Int { bits: 8 }, Granularity::Channel, Activations::Int8Token) => {
            "its weights are symmetric"
        }
        (Numeric::Int { bits: 8 }, _, Activations::Int8Token) => "its scales are per channel",
        (Numeric::Int { bits: 8 }, ..) => "its activations are int8, per token",
        _ => "its weights are int8",
    };
    Err(Unsupported::Scheme { format: FORMAT.format, scheme: scheme.to_string(), why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bytes, check_bands};

    fn w8a8() -> Scheme {
        Scheme::preset("w8a8").expect("a preset")
    }

    /// x = -8.0, -7.5, ..., 7.5 as compressed-tensors 0.19 quantizes it.
    #[test]
    fn the_vector_of_compressed_tensors_decodes_and_comes_back() {
        let codes = bytes("81889098a0a8b0b8c0c8d0d8e0e8f0f800081018202830384048505860687078");
        let scales = 0.062_745_1f32.to_le_bytes();
        let matrix = IntQuantized.decode(&w8a8(), Dtype::F32, 1, 32, &[&codes, &scales]);
        let matrix = matrix.expect("a vector");
        for (column, &code) in matrix.codes.iter().enumerate() {
            let error = matrix.grid.value(0, column, code) - (column as f32 * 0.5 - 8.0);
            assert!(error.abs() <= 0.063 / 2.0, "{column} {error}");
        }
        assert_eq!(IntQuantized.encode(&matrix, 1, Dtype::F32), [codes, scales.to_vec()]);
    }

    #[test]
    fn bands_are_the_matrix_for_sizes_that_divide_nothing() {
        for (rows, columns) in [(1, 1), (7, 51), (13, 3)] {
            check_bands(&IntQuantized, &w8a8(), rows, columns);
        }
    }

    #[test]
    fn what_cannot_be_stored_is_refused_by_name() {
        let check = |scheme: Scheme, expected: &str| {
            let error = IntQuantized.layout(&scheme, Dtype::BF16, 4, 32).expect_err(expected);
            assert_eq!(error.to_string(), format!("`int-quantized` cannot store {expected}"));
        };
        check(Scheme { symmetric: false, ..w8a8() }, "w8a8 asymmetric: its weights are symmetric");
        let granularity = Granularity::Group(32);
        check(Scheme { granularity, ..w8a8() }, "w8a8 g32: its scales are per channel");
        let activations = Activations::None;
        check(Scheme { activations, ..w8a8() }, "w8a16: its activations are int8, per token");
        check(Scheme { weights: Numeric::Int { bits: 4 }, ..w8a8() }, "w4a8: its weights are int8");
    }

    #[test]
    fn parts_of_other_sizes_are_refused() {
        let error = IntQuantized.decode(&w8a8(), Dtype::F16, 2, 3, &[&[0; 6], &[0; 2]]);
        let expected = "`weight_scale` has 2 bytes, expected 4";
        assert_eq!(error.expect_err(expected).to_string(), expected);
    }
}
