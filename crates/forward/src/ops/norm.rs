//! Root mean square norm.

use crate::ops::LANES;
use llmopt_tensor::simd::{Kernel, dispatch};
use std::borrow::Cow;

/// A norm with its gains.
pub(crate) struct Norm<'a> {
    /// As many as `width`, or as many as a row has columns.
    pub(crate) gains: Cow<'a, [f32]>,
    pub(crate) epsilon: f32,
    /// Columns that are normalized together.
    pub(crate) width: usize,
}

impl Norm<'_> {
    /// The norm of each row of `input`, into `output`.
    pub(crate) fn run(&self, input: &[f32], output: &mut [f32]) {
        let gains: &[f32] = &self.gains;
        dispatch(Rows { input, gains, epsilon: self.epsilon, width: self.width, output });
    }
}

struct Rows<'a> {
    input: &'a [f32],
    gains: &'a [f32],
    epsilon: f32,
    width: usize,
    output: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let gains = self.gains.chunks_exact(self.width).cycle();
        let runs = self.input.chunks_exact(self.width);
        for ((x, y), gains) in runs.zip(self.output.chunks_exact_mut(self.width)).zip(gains) {
            let mean = sum_of_squares(x) / self.width as f64;
            let inverse = (1.0 / (mean + f64::from(self.epsilon)).sqrt()) as f32;
            for ((y, x), gain) in y.iter_mut().zip(x).zip(gains) {
                *y = x * inverse * gain;
            }
        }
    }
}

#[inline(always)]
fn sum_of_squares(x: &[f32]) -> f64 {
    let mut lanes = [0f32; LANES];
    let blocks = x.chunks_exact(LANES);
    let rest = blocks.remainder();
    for block in blocks {
        for (sum, x) in lanes.iter_mut().zip(block) {
            *sum += x * x;
        }
    }
    for (sum, x) in lanes.iter_mut().zip(rest) {
        *sum += x * x;
    }
    lanes.into_iter().map(f64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the definition, in f64.
    fn twin(x: &[f32], gains: &[f32], epsilon: f32, width: usize) -> Vec<f64> {
        let run = |(run, x): (usize, &[f32])| {
            let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
            let mean = x.iter().map(|x| x * x).sum::<f64>() / width as f64;
            let root = (mean + f64::from(epsilon)).sqrt();
            let gain = |i: usize| f64::from(gains[(run * width + i) % gains.len()]);
            x.iter().enumerate().map(|(i, x)| x / root * gain(i)).collect::<Vec<f64>>()
        };
        x.chunks(width).enumerate().flat_map(run).collect()
    }

    #[test]
    fn every_run_of_columns_has_the_norm_of_its_definition() {
        for (columns, width, gains) in [(5, 5, 5), (48, 16, 16), (51, 17, 51), (1, 1, 1)] {
            let x: Vec<f32> = (0..3 * columns).map(|i| (i * 71 % 97) as f32 - 48.0).collect();
            let gains: Vec<f32> = (0..gains).map(|i| 1.0 + i as f32 / 10.0).collect();
            let norm = Norm { gains: (&gains).into(), epsilon: 1e-3, width };
            let mut found = vec![0.0; x.len()];
            norm.run(&x, &mut found);
            for (found, expected) in found.iter().zip(twin(&x, &gains, 1e-3, width)) {
                assert!((f64::from(*found) - expected).abs() <= 1e-6 * expected.abs());
            }
        }
    }
}
