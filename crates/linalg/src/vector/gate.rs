//! Activation functions, alone and as gates.

use super::{exp, polynomial};
use llmopt_tensor::simd::{Kernel, dispatch};
use std::f32::consts::FRAC_1_SQRT_2;

/// `x / (1 + e^-x)`.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// `x` times the normal distribution's share below `x`.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    x * share_below(x)
}

/// The share of the normal distribution below `x`.
#[inline(always)]
fn share_below(x: f32) -> f32 {
    // The share beyond |x|, and what is left of one: neither cancels.
    let z = x.abs() * FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    let beyond = 0.5 * t * polynomial(ERFCX, t) * exp(-0.5 * (x * x));
    if x < 0.0 { beyond } else { 1.0 - beyond }
}

/// The approximation of [`gelu`] by tanh, which some models are trained with:
/// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    // (1 + tanh u) / 2 is 1 / (1 + e^-2u).
    x / (1.0 + exp(-TWICE_SQRT_2_PI * (x + 0.044_715 * (x * x * x))))
}

/// The hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let small = size + size * square * polynomial(TANH, square);
    let large = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    if size < 0.625 { small.copysign(x) } else { large.copysign(x) }
}

/// `out = silu(gate) * up`.
pub fn silu_times(gate: &[f32], up: &[f32], out: &mut [f32]) {
    dispatch(Times(gate, up, out, silu));
}

/// `out = gelu(gate) * up`.
pub fn gelu_times(gate: &[f32], up: &[f32], out: &mut [f32]) {
    dispatch(Times(gate, up, out, gelu));
}

/// `out = gelu_tanh(gate) * up`.
pub fn gelu_tanh_times(gate: &[f32], up: &[f32], out: &mut [f32]) {
    dispatch(Times(gate, up, out, gelu_tanh));
}

/// `values = silu(gate)`, and its derivative there.
pub fn silu_slopes(gate: &[f32], values: &mut [f32], slopes: &mut [f32]) {
    dispatch(Slopes(gate, values, slopes, |x: f32| {
        let share = 1.0 / (1.0 + exp(-x));
        (x * share, share * (1.0 + x * (1.0 - share)))
    }));
}

/// `values = gelu(gate)`, and its derivative there.
pub fn gelu_slopes(gate: &[f32], values: &mut [f32], slopes: &mut [f32]) {
    dispatch(Slopes(gate, values, slopes, |x: f32| {
        let share = share_below(x);
        (x * share, share + x * (DENSITY * exp(-0.5 * (x * x))))
    }));
}

/// `values = gelu_tanh(gate)`, and its derivative there.
pub fn gelu_tanh_slopes(gate: &[f32], values: &mut [f32], slopes: &mut [f32]) {
    dispatch(Slopes(gate, values, slopes, |x: f32| {
        let cubed = 0.044_715 * (x * x * x);
        let share = 1.0 / (1.0 + exp(-TWICE_SQRT_2_PI * (x + cubed)));
        let bend = TWICE_SQRT_2_PI * (x + 3.0 * cubed) * (share * (1.0 - share));
        (x * share, share + if bend.is_finite() { bend } else { 0.0 })
    }));
}

/// Each value becomes `cap * tanh(value / cap)`.
pub fn tanh_cap(values: &mut [f32], cap: f32) {
    dispatch(Cap(values, cap));
}

struct Times<'a, F>(&'a [f32], &'a [f32], &'a mut [f32], F);

impl<F: Fn(f32) -> f32> Kernel for Times<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self(gate, up, out, activation) = self;
        debug_assert!(gate.len() == out.len() && up.len() == out.len());
        for ((gate, up), out) in gate.iter().zip(up).zip(out) {
            *out = activation(*gate) * up;
        }
    }
}

/// Of a function that yields its value and its derivative.
struct Slopes<'a, F>(&'a [f32], &'a mut [f32], &'a mut [f32], F);

impl<F: Fn(f32) -> (f32, f32)> Kernel for Slopes<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self(gate, values, slopes, activation) = self;
        debug_assert!(gate.len() == values.len() && gate.len() == slopes.len());
        for ((gate, value), slope) in gate.iter().zip(values).zip(slopes) {
            (*value, *slope) = activation(*gate);
        }
    }
}

struct Cap<'a>(&'a mut [f32], f32);

impl Kernel for Cap<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for x in self.0 {
            *x = self.1 * tanh(*x / self.1);
        }
    }
}

/// `1 / sqrt(2 pi)`: the normal distribution's density at zero.
const DENSITY: f32 = 0.398_942_3;

/// `2 * sqrt(2 / pi)`.
const TWICE_SQRT_2_PI: f32 = 1.595_769;

/// `e^(z^2) erfc(z) / t` for `z` up to 11, where t = 1 / (1 + z / 2); interpolated at the Chebyshev
/// nodes.
const ERFCX: [f32; 9] = [
    0.282_080_83,
    0.282_481_64,
    0.242_274_85,
    0.206_155_18,
    -0.035_190_236,
    0.290_923_95,
    -0.498_723_42,
    0.290_242_76,
    -0.060_245_614,
];

/// `(tanh(x) - x) / x^3` in x^2 for |x| up to 0.625; interpolated at the Chebyshev nodes.
const TANH: [f32; 5] = [-1.0 / 3.0, 0.133_327_7, -0.053_850_908, 0.020_997_18, -0.006_096_714];

#[cfg(test)]
mod tests {
    use super::*;

    /// Every function against its definition in f64; `units` are halves of the last place.
    #[track_caller]
    fn check(f: impl Fn(f32) -> f32, definition: impl Fn(f64) -> f64, units: f64) {
        for i in -80_000..=80_000 {
            let x = i as f32 * 2.5e-4;
            let expected = definition(f64::from(x));
            let error = (f64::from(f(x)) - expected).abs();
            // The exponent of e is rounded too, and it grows with the argument.
            let allowed = expected.abs() * (units + 4.0 * f64::from(x * x)) * 2f64.powi(-24);
            assert!(error <= allowed + 1e-37, "{x}: {} is not {expected}", f(x));
        }
    }

    #[test]
    fn activations_agree_with_their_definitions() {
        check(silu, |x| x / (1.0 + (-x).exp()), 6.0);
        check(gelu, |x| x * 0.5 * libm::erfc(-x * 0.5f64.sqrt()), 12.0);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let argument =
            |x: f64| 2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
        check(gelu_tanh, |x| x * sigmoid(argument(x)), 12.0);
        check(tanh, f64::tanh, 6.0);
    }

    #[test]
    fn slopes_are_the_derivatives_and_values_those_of_the_activations() {
        let x: Vec<f32> = (-4000..=4000).map(|i| i as f32 * 5e-3).collect();
        let far = [-1e30, -1e4, -90.0, 90.0, 1e4, 1e30];
        let x: Vec<f32> = x.into_iter().chain(far).collect();
        let (mut values, mut slopes) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        type Whole = fn(&[f32], &mut [f32], &mut [f32]);
        let mut check = |whole: Whole, single: fn(f32) -> f32, definition: fn(f64) -> f64| {
            whole(&x, &mut values, &mut slopes);
            for ((&x, &value), &slope) in x.iter().zip(&values).zip(&slopes) {
                let step = 1e-5;
                let wide = f64::from(x);
                let rise = (definition(wide + step) - definition(wide - step)) / (2.0 * step);
                let expected = if x.abs() > 80.0 { f64::from(u8::from(x > 0.0)) } else { rise };
                assert!((f64::from(slope) - expected).abs() < 2e-6, "{x}: {slope}, {expected}");
                let near = (value - single(x)).abs() <= 1e-6 * single(x).abs();
                assert!(near || single(x).abs() < 1e-30, "{x}: {value}");
            }
        };
        check(silu_slopes, silu, |x| x / (1.0 + (-x).exp()));
        check(gelu_slopes, gelu, |x| x * 0.5 * libm::erfc(-x * 0.5f64.sqrt()));
        check(gelu_tanh_slopes, gelu_tanh, |x| {
            x / (1.0
                + (-2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).exp())
        });
    }

    #[test]
    fn the_ends_and_nan_are_right() {
        for f in [silu, gelu, gelu_tanh, tanh] {
            assert!(f(f32::NAN).is_nan());
            assert_eq!(f(0.0), 0.0);
        }
        for f in [silu, gelu, gelu_tanh] {
            assert_eq!((f(1e30), f(-1e30)), (1e30, -0.0));
        }
        assert_eq!((tanh(f32::INFINITY), tanh(f32::NEG_INFINITY)), (1.0, -1.0));
        assert!(tanh(-0.0).is_sign_negative());
    }

    #[test]
    fn slices_have_the_bits_of_their_elements() {
        let gate: Vec<f32> = (0..37).map(|i| i as f32 * 0.3 - 5.0).collect();
        let up: Vec<f32> = (0..37).map(|i| 2.0 - i as f32 * 0.1).collect();
        let mut out = vec![0.0; 37];
        let mut check = |whole: fn(&[f32], &[f32], &mut [f32]), single: fn(f32) -> f32| {
            whole(&gate, &up, &mut out);
            let expected: Vec<f32> = gate.iter().zip(&up).map(|(&g, u)| single(g) * u).collect();
            assert_eq!(out, expected);
        };
        check(silu_times, silu);
        check(gelu_times, gelu);
        check(gelu_tanh_times, gelu_tanh);
        let mut capped = gate.clone();
        tanh_cap(&mut capped, 3.0);
        assert_eq!(capped, gate.iter().map(|x| 3.0 * tanh(x / 3.0)).collect::<Vec<_>>());
    }
}
