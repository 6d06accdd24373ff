//! Activations as an integer or fp8 kernel of a runtime sees them.

use crate::ops::LANES;
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
    let mut lanes = [0f32; LANES];
    let blocks = x.chunks_exact(LANES);
    let rest = blocks.remainder();
    for block in blocks {
        for (most, x) in lanes.iter_mut().zip(block) {
            *most = larger(*most, x.abs());
        }
    }
    let most = lanes.into_iter().chain(rest.iter().map(|x| x.abs())).fold(0.0, larger);
    let scale = most / half_range;
    if scale == 0.0 { f32::EPSILON } else { scale }
}

/// The larger one; NaN where one is NaN.
#[inline(always)]
fn larger(most: f32, x: f32) -> f32 {
    if x <= most { most } else { x }
}
