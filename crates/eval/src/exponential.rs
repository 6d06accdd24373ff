//! Sums of exponentials of logits, vectorized, in f64.

use llmopt_tensor::simd::{Kernel, dispatch};
use std::f64::consts::LOG2_E;

/// The sum of `exp(logit - greatest)`.
pub(crate) fn sum_of_exponentials(logits: &[f32], greatest: f64) -> f64 {
    dispatch(OfOne { logits, greatest })
}

/// For logits `r` of a reference and `a` of an artifact, whose greatest are given: the sums of
/// `exp(r - greatest)`, of `exp(a - greatest)`, and of `exp(r - greatest) * (r - a)`.
pub(crate) fn sums_of_pair(reference: &[f32], artifact: &[f32], greatest: [f64; 2]) -> [f64; 3] {
    dispatch(OfPair { reference, artifact, greatest })
}

/// One exponential, of zero or less.
pub(crate) fn of(x: f64) -> f64 {
    weight(x * LOG2_E)
}

struct OfOne<'a> {
    logits: &'a [f32],
    greatest: f64,
}

impl Kernel for OfOne<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let (blocks, rest) = self.logits.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for block in blocks {
            add(&mut sums, &weights(block, self.greatest));
        }
        add(&mut sums, &weights(&padded(rest), self.greatest));
        total(&sums)
    }
}

struct OfPair<'a> {
    reference: &'a [f32],
    artifact: &'a [f32],
    greatest: [f64; 2],
}

impl Kernel for OfPair<'_> {
    type Output = [f64; 3];

    #[inline(always)]
    fn run(self) -> [f64; 3] {
        let (references, rest) = self.reference.as_chunks::<LANES>();
        let (artifacts, rest_of_artifact) = self.artifact.as_chunks::<LANES>();
        let mut sums = [[0.0; LANES]; 3];
        for (reference, artifact) in references.iter().zip(artifacts) {
            add_pair(&mut sums, reference, artifact, self.greatest);
        }
        add_pair(&mut sums, &padded(rest), &padded(rest_of_artifact), self.greatest);
        [total(&sums[0]), total(&sums[1]), total(&sums[2])]
    }
}

#[inline(always)]
fn add_pair(
    sums: &mut [[f64; LANES]; 3],
    reference: &[f32; LANES],
    artifact: &[f32; LANES],
    greatest: [f64; 2],
) {
    let shares = weights(reference, greatest[0]);
    add(&mut sums[0], &shares);
    add(&mut sums[1], &weights(artifact, greatest[1]));
    for lane in 0..LANES {
        let difference = f64::from(reference[lane]) - f64::from(artifact[lane]);
        let cross = shares[lane] * difference;
        // What the reference masks does not count, whatever the artifact makes of it.
        sums[2][lane] += if shares[lane] > 0.0 { cross } else { 0.0 };
    }
}

#[inline(always)]
fn add(sums: &mut [f64; LANES], terms: &[f64; LANES]) {
    for lane in 0..LANES {
        sums[lane] += terms[lane];
    }
}

#[inline(always)]
fn padded(rest: &[f32]) -> [f32; LANES] {
    let mut logits = [MASKED; LANES];
    logits[..rest.len()].copy_from_slice(rest);
    logits
}

/// `exp(logit - greatest)` of each.
#[inline(always)]
fn weights(logits: &[f32; LANES], greatest: f64) -> [f64; LANES] {
    let mut weights = [0.0; LANES];
    for lane in 0..LANES {
        weights[lane] = weight((f64::from(logits[lane]) - greatest) * LOG2_E);
    }
    weights
}

/// `2^y` for `y` of zero or less, with a relative error of 2e-14; zero where `y` is below -1000 or
/// no number.
#[inline(always)]
fn weight(y: f64) -> f64 {
    let clamped = if y > LEAST { y } else { LEAST };
    // Adding the shifter leaves the nearest integer in the low bits.
    let shifted = clamped + SHIFTER;
    let fraction = clamped - (shifted - SHIFTER);
    let mut power = POWER_OF_TWO[9];
    power = power * fraction + POWER_OF_TWO[8];
    power = power * fraction + POWER_OF_TWO[7];
    power = power * fraction + POWER_OF_TWO[6];
    power = power * fraction + POWER_OF_TWO[5];
    power = power * fraction + POWER_OF_TWO[4];
    power = power * fraction + POWER_OF_TWO[3];
    power = power * fraction + POWER_OF_TWO[2];
    power = power * fraction + POWER_OF_TWO[1];
    power = power * fraction + POWER_OF_TWO[0];
    let scaled = f64::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 52));
    if y > LEAST { scaled } else { 0.0 }
}

/// The sum of the lanes. Not inlined: what is inlined may have its lanes shuffled, and the loops
/// that add to them with it.
#[inline(never)]
fn total(lanes: &[f64; LANES]) -> f64 {
    let half = |i: usize| (lanes[i] + lanes[i + 4]) + (lanes[i + 2] + lanes[i + 6]);
    half(0) + half(1)
}

/// Logits side by side in the sums: as many on every machine, whatever its vectors hold.
const LANES: usize = 8;

/// The logit of a token that cannot be.
pub(crate) const MASKED: f32 = f32::NEG_INFINITY;

/// Powers of two below this are no part of any sum that begins with one.
const LEAST: f64 = -1000.0;

/// One and a half times 2^52: doubles as great have no fraction.
const SHIFTER: f64 = 6_755_399_441_055_744.0;

/// The polynomial of degree 9 with the least relative error, 1.4e-14, from 2^x between -1/2 and 1/2:
/// by Remez's exchange in 50 digits.
const POWER_OF_TWO: [f64; 10] = [
    1.000_000_000_000_012_7,
    0.693_147_180_559_871,
    0.240_226_506_956_496_53,
    0.055_504_108_668_685_624,
    0.009_618_129_192_067_193,
    0.001_333_355_761_760_242_6,
    0.000_154_034_349_481_035_28,
    1.525_298_483_981_455_7e-5,
    1.325_940_560_357_369_6e-6,
    1.015_033_649_514_861_8e-7,
];

#[cfg(test)]
pub(crate) mod testing {
    /// About normal, made of the sums of uniform numbers.
    pub(crate) fn logits(seed: u64, count: usize, spread: f32) -> Vec<f32> {
        let mut random = crate::bootstrap::Random::new(seed);
        let mut uniform = || random.below(1 << 20) as f32 / (1 << 19) as f32 - 1.0;
        (0..count).map(|_| (uniform() + uniform() + uniform()) * spread).collect()
    }

    /// Slices of a vocabulary, each with the place where it begins.
    pub(crate) fn cut(logits: &[f32], slice: usize) -> impl Iterator<Item = (usize, &[f32])> {
        logits.chunks(slice).enumerate().map(move |(i, part)| (i * slice, part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_agree_with_libm() {
        let check = |y: f64| {
            let (found, expected) = (weight(y), libm::exp2(y));
            assert!((found / expected - 1.0).abs() < 2e-14, "{found} is not {expected} at {y}");
        };
        for i in 0..200_000 {
            check(-f64::from(i) * 0.0049);
        }
        for halfway in [0.5, 1.5, 2.5, 700.5, 999.5] {
            check(-halfway);
            check(-f64::next_up(halfway));
            check(-f64::next_down(halfway));
        }
    }

    #[test]
    fn what_is_too_small_or_no_number_weighs_nothing() {
        for y in [-1000.0, -1e4, -1e300, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(weight(y), 0.0);
        }
        assert!(weight(-999.99) > 0.0);
    }

    #[test]
    fn exponentials_rise_from_zero_to_one() {
        assert!((of(0.0) - 1.0).abs() < 2e-14);
        assert!((of(-1.0) * std::f64::consts::E - 1.0).abs() < 2e-14);
        assert_eq!(of(f64::NEG_INFINITY), 0.0);
    }
}
