//! One compilation of a kernel per instruction set, chosen at run time.
//!
//! The kernels are plain Rust. The compiler vectorizes them for the instruction set under which they
//! are inlined, and never contracts `a * b + c`, so every instruction set computes the same bits.

use pulp::{Arch, WithSimd};

/// A kernel: its arguments are its fields, its body is [`Kernel::run`].
///
/// Mark `run`, and whatever it calls in its loops, `#[inline(always)]`: code that is not inlined is
/// compiled for the oldest processor of the architecture.
pub trait Kernel {
    /// What the kernel returns.
    type Output;

    /// Does the work.
    fn run(self) -> Self::Output;
}

/// Runs `kernel` as compiled for the widest instruction set of this machine.
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    Arch::new().dispatch(Vectorized(kernel))
}

struct Vectorized<K>(K);

impl<K: Kernel> WithSimd for Vectorized<K> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> K::Output {
        self.0.run()
    }
}
