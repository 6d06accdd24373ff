//! Round to nearest: the tile's extent decides the scale.

use crate::band::{Fit, Tile, quantized};
use crate::extent::Extent;
use crate::target::{Affine, Target};
use crate::{QuantError, Quantizer};
use llmopt_scheme::{Levels, QuantizedMatrix, Scheme};
use llmopt_tensor::{Dtype, round_half_even};
use ndarray::ArrayView2;

/// Round to nearest, `rtn`: the scale at which the extreme weights just fit, with the arithmetic of
/// compressed-tensors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nearest;

impl Quantizer for Nearest {
    fn name(&self) -> &'static str {
        "rtn"
    }

    fn working_bytes(&self, _rows: usize, _columns: usize, _scheme: &Scheme) -> usize {
        0
    }

    fn quantize(
        &self,
        weights: ArrayView2<'_, f32>,
        scheme: &Scheme,
        scale_dtype: Dtype,
    ) -> Result<QuantizedMatrix, QuantError> {
        quantized(weights, scheme, scale_dtype, *self)
    }
}

impl Fit for Nearest {
    #[inline(always)]
    fn fit(&mut self, _: &Tile<'_>, extent: Extent, target: Target) -> Affine {
        absmax(extent, target)
    }
}

/// The scale that spreads the levels over the extent, and the zero point that puts its lower end on
/// the least code.
#[inline(always)]
pub(crate) fn absmax(extent: Extent, target: Target) -> Affine {
    let half_spread = if target.symmetric { extent.magnitude() } else { extent.half_spread() };
    let scale = target.stored.rounded(half_spread / target.levels.half_range());
    let zero = match target.levels {
        Levels::Integer { low, high } if !target.symmetric => {
            let zero = f32::from(low) - extent.least / scale;
            round_half_even(zero.clamp(f32::from(low), f32::from(high))) as i8
        }
        _ => 0,
    };
    Affine { scale, zero }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_scheme::{Activations, Granularity, Numeric};

    fn quantize(weights: &[f32], columns: usize, scheme: Scheme) -> QuantizedMatrix {
        let shape = (weights.len() / columns, columns);
        let weights = ArrayView2::from_shape(shape, weights).expect("rows of equal length");
        Nearest.quantize(weights, &scheme, Dtype::F32).expect("finite weights")
    }

    fn scheme(weights: Numeric, granularity: Granularity, symmetric: bool) -> Scheme {
        Scheme { weights, granularity, symmetric, activations: Activations::None }
    }

    /// The half steps from -8 to 7.5: the row that the formats' reference vectors are given for.
    fn ramp() -> Vec<f32> {
        (0..32).map(|i| i as f32 * 0.5 - 8.0).collect()
    }

    /// As the hexadecimal digits of the payload show them: codes plus 8, the first in the lowest
    /// digit of each word.
    fn nibbles(codes: &[i8]) -> String {
        let digits = codes.iter().map(|&code| format!("{:x}", code + 8)).collect::<Vec<_>>();
        digits
            .chunks(8)
            .map(|word| word.iter().rev().cloned().collect())
            .collect::<Vec<String>>()
            .join(" ")
    }

    #[test]
    fn scales_and_codes_are_those_of_compressed_tensors() {
        let int4 = Numeric::Int { bits: 4 };
        let symmetric = quantize(&ramp(), 32, scheme(int4, Granularity::Group(32), true));
        assert_eq!(symmetric.grid.scales, [1.066_666_7]);
        assert!(symmetric.grid.zero_points.is_empty());
        assert_eq!(nibbles(&symmetric.codes), "43322111 87766554 bbaa9988 ffeeddcc");

        let asymmetric = quantize(&ramp(), 32, scheme(int4, Granularity::Group(32), false));
        assert_eq!(asymmetric.grid.scales, [1.033_333_3]);
        assert_eq!(asymmetric.grid.zero_points, [0]);
        assert_eq!(nibbles(&asymmetric.codes), "43322110 87766554 bbaa9988 ffeeddcc");

        let magnitudes = ramp().into_iter().map(f32::abs);
        let two_rows: Vec<f32> = ramp().into_iter().chain(magnitudes).collect();
        let groups = quantize(&two_rows, 32, scheme(int4, Granularity::Group(16), false));
        assert_eq!(groups.grid.scales, [0.533_333_36, 0.5, 0.533_333_36, 0.5]);
        assert_eq!(groups.grid.zero_points, [7, -8, -8, -8]);
        let expected = "76543210 edcba988 76543210 fedcba98 89abcdef 12345677 76543210 fedcba98";
        assert_eq!(nibbles(&groups.codes), expected);

        let int8 =
            quantize(&ramp(), 32, scheme(Numeric::Int { bits: 8 }, Granularity::Channel, true));
        assert_eq!(int8.grid.scales, [0.062_745_1]);
        let codes: String = int8.codes.iter().map(|code| format!("{:02x}", *code as u8)).collect();
        assert_eq!(codes, "81889098a0a8b0b8c0c8d0d8e0e8f0f800081018202830384048505860687078");

        let fp8 = quantize(&ramp(), 32, scheme(Numeric::E4m3, Granularity::Channel, true));
        assert_eq!(fp8.grid.scales, [0.017_857_144]);
        let codes: String = fp8.codes.iter().map(|code| format!("{:02x}", *code as u8)).collect();
        assert_eq!(codes, "fefdfcfbfafaf9f8f6f4f2f1eeeae6de005e666a6e7172747678797a7a7b7c7d");
    }

    #[test]
    fn scales_are_rounded_before_codes_are_chosen() {
        let row = [0.3, -1.0, 0.868];
        let weights = ArrayView2::from_shape((1, 3), &row).expect("one row");
        let int4 = scheme(Numeric::Int { bits: 4 }, Granularity::Channel, true);
        let matrix = Nearest.quantize(weights, &int4, Dtype::BF16).expect("finite");
        // 1 / 7.5 lies between the BF16 values 136 and 137 times 2^-10, nearer to the second.
        // 0.868 is 6.51 of the unrounded scale, but 6.49 of the stored one.
        assert_eq!(matrix.grid.scales, [137.0 / 1024.0]);
        assert_eq!(matrix.codes, [2, -7, 6]);
    }
}
