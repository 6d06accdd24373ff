//! Frequencies of a rotary embedding.

use llmopt_arch::program::{Rope, RopeScaling};
use std::f64::consts::PI;

/// How fast each pair of columns turns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frequencies {
    /// Radians per position.
    pub(crate) values: Vec<f32>,
    /// What cosine and sine are multiplied by.
    pub(crate) attention_factor: f32,
}

impl Frequencies {
    /// Those of a sequence of `length` tokens, computed in f32, step by step as Transformers does:
    /// at position 100,000 the last bit of a frequency moves an angle by 0.01.
    ///
    /// Dynamic and long scaling depend on the length. Transformers asks for the longest sequence of
    /// a call; here every sequence has the frequencies of its own length, so that they do not depend
    /// on its neighbours in a batch.
    pub(crate) fn new(rope: &Rope, length: usize) -> Self {
        let plain = |theta: f32| powers(theta, rope.width).map(|power| 1.0 / power).collect();
        let theta = rope.theta as f32;
        let (values, attention_factor) = match &rope.scaling {
            RopeScaling::None => (plain(theta), 1.0),
            RopeScaling::Linear { factor } => (scaled(plain(theta), *factor), 1.0),
            RopeScaling::Dynamic { factor, original } => {
                (plain(grown(rope, *factor, *original, length)), 1.0)
            }
            RopeScaling::Yarn { attention_factor, .. } => (yarn(rope), *attention_factor),
            RopeScaling::Long { short, long, original, attention_factor } => {
                let factors = if length > *original { long } else { short };
                let powers = powers(theta, rope.width).zip(factors);
                let values = powers.map(|(power, &factor)| 1.0 / (factor as f32 * power));
                (values.collect(), *attention_factor)
            }
            RopeScaling::Llama3 { factor, low, high, original } => {
                (llama3(plain(theta), *factor, *low, *high, *original as f64), 1.0)
            }
        };
        Self { values, attention_factor: attention_factor as f32 }
    }

    /// Whether sequences of different lengths have different ones.
    pub(crate) fn vary(rope: &Rope) -> bool {
        matches!(rope.scaling, RopeScaling::Dynamic { .. } | RopeScaling::Long { .. })
    }
}

/// `theta^(2i/width)`, in f32 but for the rounding within the power itself.
fn powers(theta: f32, width: usize) -> impl Iterator<Item = f32> {
    let exponents = (0..width / 2).map(move |i| (2 * i) as f32 / width as f32);
    exponents.map(move |exponent| libm::pow(theta.into(), exponent.into()) as f32)
}

fn scaled(frequencies: Vec<f32>, factor: f64) -> Vec<f32> {
    frequencies.into_iter().map(|frequency| frequency / factor as f32).collect()
}

/// The base of dynamic scaling.
fn grown(rope: &Rope, factor: f64, original: usize, length: usize) -> f32 {
    if length <= original || rope.width <= 2 {
        return rope.theta as f32;
    }
    let growth = factor as f32 * length as f32 / original as f32 - (factor - 1.0) as f32;
    let exponent = rope.width as f64 / (rope.width - 2) as f64;
    rope.theta as f32 * libm::pow(growth.into(), f64::from(exponent as f32)) as f32
}

fn yarn(rope: &Rope) -> Vec<f32> {
    let RopeScaling::Yarn { factor, original, beta_fast, beta_slow, truncate, .. } = rope.scaling
    else {
        return Vec::new();
    };
    let width = rope.width as f64;
    let column = |rotations: f64| {
        width * libm::log(original as f64 / (rotations * 2.0 * PI)) / (2.0 * libm::log(rope.theta))
    };
    let (mut low, mut high) = (column(beta_fast), column(beta_slow));
    if truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(width - 1.0));
    // A step where both ends are one column, with the width that Transformers gives it.
    let span = if low == high { (high + 0.001) - low } else { high - low };
    let ramp = |i: usize| ((i as f32 - low as f32) / span as f32).clamp(0.0, 1.0);
    let blended = |(i, power): (usize, f32)| {
        let stays = 1.0 - ramp(i);
        (1.0 / (factor as f32 * power)) * (1.0 - stays) + (1.0 / power) * stays
    };
    powers(rope.theta as f32, rope.width).enumerate().map(blended).collect()
}

fn llama3(frequencies: Vec<f32>, factor: f64, low: f64, high: f64, original: f64) -> Vec<f32> {
    let (longest, shortest) = ((original / low) as f32, (original / high) as f32);
    let of = |frequency: f32| {
        let wavelength = (2.0 * PI) as f32 / frequency;
        if wavelength > longest {
            return frequency / factor as f32;
        }
        if wavelength < shortest {
            return frequency;
        }
        let stays = (original as f32 / wavelength - low as f32) / (high - low) as f32;
        (1.0 - stays) * frequency / factor as f32 + stays * frequency
    };
    frequencies.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against Transformers 5.17 on the same numbers, six pairs of columns.
    #[track_caller]
    fn check(theta: f64, scaling: RopeScaling, length: usize, expected: [f32; 6], factor: f32) {
        let frequencies = Frequencies::new(&Rope { theta, width: 12, scaling }, length);
        assert_eq!(frequencies.attention_factor, factor);
        for (found, expected) in frequencies.values.iter().zip(expected) {
            let units = found.to_bits().abs_diff(expected.to_bits());
            assert!(units <= 1, "{found} for {expected}: {units} units in the last place");
        }
    }

    #[test]
    fn frequencies_are_powers_of_the_base() {
        let expected = [1.0, 0.11224619, 0.012599208, 0.0014142134, 0.00015874006, 1.781798e-5];
        check(500_000.0, RopeScaling::None, 10, expected, 1.0);
    }

    #[test]
    fn linear_scaling_divides() {
        let expected =
            [0.33333334, 0.071814485, 0.015471961, 0.0033333332, 0.00071814476, 0.00015471964];
        check(10_000.0, RopeScaling::Linear { factor: 3.0 }, 10, expected, 1.0);
    }

    #[test]
    fn dynamic_scaling_begins_beyond_the_original_length() {
        let scaling = RopeScaling::Dynamic { factor: 2.5, original: 256 };
        let expected = [1.0, 0.20057884, 0.040231865, 0.008069661, 0.001618603, 0.00032465765];
        check(10_000.0, scaling.clone(), 300, expected, 1.0);
        let plain = [1.0, 0.21544345, 0.046415884, 0.01, 0.0021544344, 0.00046415892];
        check(10_000.0, scaling, 256, plain, 1.0);
    }

    fn yarn(beta_fast: f64, beta_slow: f64, truncate: bool) -> RopeScaling {
        RopeScaling::Yarn {
            factor: 4.0,
            original: 256,
            beta_fast,
            beta_slow,
            attention_factor: 1.138_629_436_111_989,
            truncate,
        }
    }

    #[test]
    fn yarn_blends_over_a_ramp() {
        let expected = [1.0, 0.16158257, 0.02320794, 0.0025, 0.0005386086, 0.00011603974];
        check(10_000.0, yarn(32.0, 1.0, true), 10, expected, 1.1386294);
        let narrow = [1.0, 0.21544345, 0.011603971, 0.0025, 0.0005386086, 0.00011603974];
        check(10_000.0, yarn(8.0, 2.0, false), 10, narrow, 1.1386294);
    }

    #[test]
    fn long_scaling_has_factors_of_its_own_beyond_the_original_length() {
        let scaling = RopeScaling::Long {
            short: vec![1.0, 1.1, 1.2, 1.3, 1.5, 2.0],
            long: vec![1.0, 1.5, 3.0, 8.0, 16.0, 32.0],
            original: 64,
            attention_factor: 1.154_700_538_379_251_7,
        };
        let short = [1.0, 0.19585769, 0.0386799, 0.0076923077, 0.0014362895, 0.00023207947];
        check(10_000.0, scaling.clone(), 64, short, 1.1547005);
        let long = [1.0, 0.14362897, 0.01547196, 0.00125, 0.00013465215, 1.4504967e-5];
        check(10_000.0, scaling, 65, long, 1.1547005);
    }

    #[test]
    fn llama_3_divides_long_wavelengths() {
        let scaling = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 512 };
        let expected = [1.0, 0.11224619, 0.0016729285, 0.00017677668, 1.9842508e-5, 2.2272475e-6];
        check(500_000.0, scaling, 10, expected, 1.0);
    }
}
