//! Elementary functions of f32, and loops over slices with them.
//!
//! The polynomials are our own and nothing is contracted to a fused multiply-add, so every machine
//! computes the same bits. The functions of single numbers are inlined and free of branches: loops
//! over them vectorize under [`llmopt_tensor::simd::dispatch`].

mod exp;
mod gate;
mod softmax;

pub use exp::{exp, exp_in_place};
pub use gate::{
    gelu, gelu_slopes, gelu_tanh, gelu_tanh_slopes, gelu_tanh_times, gelu_times, silu, silu_slopes,
    silu_times, tanh, tanh_cap,
};
pub use softmax::{exp_of_differences, max, sum_exp};

/// `c[0] + c[1] x + c[2] x^2 + ...`
#[inline(always)]
fn polynomial<const N: usize>(c: [f32; N], x: f32) -> f32 {
    let mut sum = c[N - 1];
    for &c in c[..N - 1].iter().rev() {
        sum = sum * x + c;
    }
    sum
}
