//! The pieces of a softmax.
//!
//! Sums run in [`LANES`] lanes that are added in order at the end, whatever the machine.

use super::exp;
use llmopt_tensor::simd::{Kernel, dispatch};

const LANES: usize = 16;

/// The largest value, minus infinity of none. NaN if any value is.
pub fn max(values: &[f32]) -> f32 {
    dispatch(Max(values))
}

/// The sum of `exp(value - max)`, in f64.
pub fn sum_exp(values: &[f32], max: f32) -> f64 {
    dispatch(SumExp(values, max))
}

/// Each value becomes `exp(value - max)`; returns their sum.
pub fn exp_of_differences(values: &mut [f32], max: f32) -> f32 {
    dispatch(ExpOfDifferences(values, max))
}

struct Max<'a>(&'a [f32]);

impl Kernel for Max<'_> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        for_lanes(self.0, |lane, x| lanes[lane] = larger(lanes[lane], x));
        lanes.into_iter().fold(f32::NEG_INFINITY, larger)
    }
}

/// Once NaN, always NaN.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

struct SumExp<'a>(&'a [f32], f32);

impl Kernel for SumExp<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let mut lanes = [0f64; LANES];
        for_lanes(self.0, |lane, x| lanes[lane] += f64::from(exp(x - self.1)));
        lanes.iter().sum()
    }
}

struct ExpOfDifferences<'a>(&'a mut [f32], f32);

impl Kernel for ExpOfDifferences<'_> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let mut lanes = [0f32; LANES];
        for x in self.0.iter_mut() {
            *x = exp(*x - self.1);
        }
        for_lanes(self.0, |lane, x| lanes[lane] += x);
        lanes.iter().sum()
    }
}

/// Calls `add` with the lane of each value.
#[inline(always)]
fn for_lanes(values: &[f32], mut add: impl FnMut(usize, f32)) {
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in chunk.iter().enumerate() {
            add(lane, *x);
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        add(lane, *x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(length: usize) -> Vec<f32> {
        (0..length).map(|i| ((i * 7919 % 1000) as f32 - 500.0) / 37.0).collect()
    }

    #[test]
    fn pieces_agree_with_f64_at_lengths_that_divide_nothing() {
        for length in [0, 1, 15, 16, 17, 1001] {
            let mut values = logits(length);
            let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max(&values), largest);
            let terms = values.iter().map(|x| f64::from(x - largest).exp());
            let expected: f64 = terms.sum();
            let found = sum_exp(&values, largest);
            assert!((found - expected).abs() <= expected * 1e-7, "{found}, {expected}");
            let found = f64::from(exp_of_differences(&mut values, largest));
            assert!((found - expected).abs() <= expected * 1e-6, "{found}, {expected}");
            assert!(values.iter().all(|x| (0.0..=1.0).contains(x)));
        }
    }

    #[test]
    fn nan_is_the_largest_wherever_it_stands() {
        for place in [0, 3, 16, 40] {
            let mut values = logits(41);
            values[place] = f32::NAN;
            assert!(max(&values).is_nan() && sum_exp(&values, 1.0).is_nan());
        }
    }

    #[test]
    fn what_is_masked_counts_nothing() {
        let mut values = [0.0, f32::NEG_INFINITY, 0.0];
        assert_eq!(sum_exp(&values, 0.0), 2.0);
        assert_eq!(exp_of_differences(&mut values, 0.0), 2.0);
        assert_eq!(values, [1.0, 0.0, 1.0]);
    }
}
