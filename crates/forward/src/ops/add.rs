//! The residual connection.

use llmopt_tensor::simd::{Kernel, dispatch};

/// `output += scale * input`.
pub(crate) fn add(input: &[f32], scale: f32, output: &mut [f32]) {
    dispatch(Add { input, scale, output });
}

struct Add<'a> {
    input: &'a [f32],
    scale: f32,
    output: &'a mut [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (sum, x) in self.output.iter_mut().zip(self.input) {
            *sum += self.scale * x;
        }
    }
}
