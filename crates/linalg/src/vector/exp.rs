//! The exponential function.

use super::polynomial;
use llmopt_tensor::simd::{Kernel, dispatch};

/// e to the power of `x`, within one unit in the last place where the result is normal. Infinite
/// beyond the largest f32, zero for minus infinity, NaN for NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Beyond these the result is infinite or zero.
    let x = x.clamp(-104.0, 89.0);
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let power = (r * r * polynomial(TAIL, r) + r) + 1.0;
    // 2^n may be no f32; the halves of n give factors that are.
    let n = (shifted.to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32);
    let half = n >> 1;
    power * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// Each value becomes its exponential.
pub fn exp_in_place(values: &mut [f32]) {
    dispatch(Exp(values));
}

struct Exp<'a>(&'a mut [f32]);

impl Kernel for Exp<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for x in self.0 {
            *x = exp(*x);
        }
    }
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// 1.5 * 2^23: added to a small number, it leaves the nearest integer in the lowest bits.
const MAGIC: f32 = 12_582_912.0;

/// ln 2 in two parts; the first has ten bits, so that its product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `(e^r - 1 - r) / r^2` for |r| <= ln(2) / 2, interpolated at the Chebyshev nodes.
const TAIL: [f32; 5] = [0.5, 0.166_665_73, 0.041_666_55, 0.008_363_774, 0.001_392_692_7];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_within_one_unit_of_the_true_value() {
        for bits in (0..=u32::MAX).step_by(9973) {
            let x = f32::from_bits(bits);
            let (found, expected) = (exp(x), f64::from(x).exp());
            let unit = f64::from((expected as f32).max(f32::MIN_POSITIVE)) * 2f64.powi(-23);
            let near = (f64::from(found) - expected).abs() <= unit;
            let overflow = expected > f64::from(f32::MAX) && found == f32::INFINITY;
            assert!(near || overflow || x.is_nan() && found.is_nan(), "{x}: {found}, {expected}");
        }
    }

    #[test]
    fn the_ends_are_exact() {
        for (x, expected) in [
            (0.0, 1.0),
            (-0.0, 1.0),
            (f32::NEG_INFINITY, 0.0),
            (f32::INFINITY, f32::INFINITY),
            (88.722_84, f32::INFINITY),
            (-103.972_084, 0.0),
        ] {
            assert_eq!(exp(x), expected, "{x}");
        }
        assert!(exp(88.722_83).is_finite() && exp(-103.97) > 0.0);
    }

    #[test]
    fn a_slice_has_the_bits_of_its_elements() {
        let mut values: Vec<f32> = (-1100..900).map(|i| i as f32 * 0.1).collect();
        let expected: Vec<f32> = values.iter().map(|&x| exp(x)).collect();
        exp_in_place(&mut values);
        assert_eq!(values, expected);
    }
}
