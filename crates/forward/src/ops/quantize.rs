//! Activations as an integer or fp8 kernel of a runtime sees them.

use crate::ops::finite::largest_magnitude;
use llmopt_scheme::Activations;
use llmopt_tensor::simd::{Kernel, dispatch};
use llmopt_tensor::{round_half_even, rounded_to_e4m3};

/// Each row of `columns` quantized with scales of its own and dequantized again, with the arithmetic
/// of compressed-tensors for dynamic symmetric activations: the scale is the largest magnitude over
/// half the range of the codes, [`f32::EPSILON`] where that is zero.
///
/// compressed-tensors computes one scale for all tokens where its input is two-dimensional, as it is
/// within experts; runtimes have one per token, and so has this.
pub(crate) fn quantize(input: &[f32], columns: usize, to: Activations, output: &mut [f32]) {
    match to {
        Activations::None => output.copy_from_slice(input),
        Activations::Int8Token => dispatch(Int8 { input, columns, output }),
        Activations::Fp8Token => dispatch(Fp8 { input, columns, group: columns, output }),
        Activations::Fp8Group(group) => dispatch(Fp8 { input, columns, group, output }),
    }
}

struct Int8<'a> {
    input: &'a [f32],
    columns: usize,
    output: &'a mut [f32],
}

impl Kernel for Int8<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rows = self.input.chunks_exact(self.columns);
        for (x, y) in rows.zip(self.output.chunks_exact_mut(self.columns)) {
            let scale = scale(x, 127.5);
            for (y, x) in y.iter_mut().zip(x) {
                *y = round_half_even((x / scale).clamp(-128.0, 127.0)) * scale;
            }
        }
    }
}

struct Fp8<'a> {
    input: &'a [f32],
    columns: usize,
    group: usize,
    output: &'a mut [f32],
}

impl Kernel for Fp8<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rows = self.input.chunks_exact(self.columns);
        for (x, y) in rows.zip(self.output.chunks_exact_mut(self.columns)) {
            for (x, y) in x.chunks(self.group).zip(y.chunks_mut(self.group)) {
                let scale = scale(x, 448.0);
                for (y, x) in y.iter_mut().zip(x) {
                    *y = rounded_to_e4m3(x / scale) * scale;
                }
            }
        }
    }
}

#[inline(always)]
fn scale(x: &[f32], half_range: f32) -> f32 {
    let scale = f32::from_bits(largest_magnitude(x)) / half_range;
    if scale == 0.0 { f32::EPSILON } else { scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [f32; 24] = [
        -1.0, 0.5, 0.31, -0.123, 2.0, -2.55, 0.0, 1.275, //
        0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, //
        1e-3, -4e-3, 3e-3, 0.01, -0.02, 0.0301, 0.07, -0.0701,
    ];

    /// Against compressed-tensors 0.19 on the same numbers.
    #[track_caller]
    fn check(to: Activations, expected: [[f32; 8]; 2]) {
        let mut found = [1.0; 24];
        quantize(&ROWS, 8, to, &mut found);
        let (first, rest) = found.split_at(8);
        assert_eq!(first, expected[0]);
        assert_eq!(rest[..8], [0.0; 8], "a row of zeros stays one");
        assert_eq!(rest[8..], expected[1]);
    }

    #[test]
    fn int8_has_a_scale_per_token() {
        let first = [-1.0, 0.5, 0.32, -0.12, 2.0, -2.56, 0.0, 1.28];
        let last = [
            0.0010996079,
            -0.0038486277,
            0.0027490198,
            0.009896471,
            -0.019792942,
            0.030239217,
            0.069825105,
            -0.070374906,
        ];
        check(Activations::Int8Token, [first, last]);
    }

    #[test]
    fn fp8_has_a_scale_per_token() {
        let first = [-1.0017858, 0.5008929, 0.31875, -0.12522322, 2.0035715, -2.55, 0.0, 1.275];
        let last = [
            0.001017076,
            -0.004068304,
            0.0031294646,
            0.010014286,
            -0.020028573,
            0.030042859,
            0.0701,
            -0.0701,
        ];
        check(Activations::Fp8Token, [first, last]);
    }

    #[test]
    fn fp8_has_a_scale_per_group() {
        let first = [-1.0, 0.5, 0.3214286, -0.125, 2.0035715, -2.55, 0.0, 1.275];
        let last = [
            0.0009821429,
            -0.0039285715,
            0.0028571428,
            0.01,
            -0.020028573,
            0.030042859,
            0.0701,
            -0.0701,
        ];
        check(Activations::Fp8Group(4), [first, last]);
    }

    #[test]
    fn a_last_group_may_be_short_and_nan_stays() {
        let row = [1.0, 448.0, 3.0, f32::NAN, 2.0];
        let mut found = [0.0; 5];
        quantize(&row, 5, Activations::Fp8Group(2), &mut found);
        assert_eq!(found[..2], [1.0, 448.0]);
        assert!(found[3].is_nan());
        assert_eq!(found[4], 2.0);
        quantize(&row, 5, Activations::Int8Token, &mut found);
        assert!(found.iter().all(|x| x.is_nan()));
    }
}
