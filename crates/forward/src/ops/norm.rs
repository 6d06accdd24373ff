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
