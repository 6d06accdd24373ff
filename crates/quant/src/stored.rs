//! Scales as a file will hold them.

use crate::QuantError;
use llmopt_tensor::{Dtype, rounded};

/// The type that scales are stored as, and its limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    dtype: Dtype,
    least: f32,
    greatest: f32,
    /// The scale of a tile without any weight but zero: what compressed-tensors takes then.
    pub(crate) epsilon: f32,
}

/// The least scale that is stored as `dtype`.
///
/// # Errors
/// [`QuantError::ScaleDtype`] for what is no type of scales.
pub fn least_scale(dtype: Dtype) -> Result<f32, QuantError> {
    Stored::new(dtype, 1.0).map(|stored| stored.least)
}

impl Stored {
    /// `farthest` is the greatest multiple of the scale that a code can stand for: scales are kept so
    /// small that it is finite.
    pub(crate) fn new(dtype: Dtype, farthest: f32) -> Result<Self, QuantError> {
        // With the significand of a BF16, so that it can be stored.
        let greatest = f32::from_bits((f32::MAX / farthest).to_bits() & 0xffff_0000);
        let of = |least, greatest, epsilon| Ok(Self { dtype, least, greatest, epsilon });
        match dtype {
            // Subnormal F32 and BF16 are zero to a GPU that flushes them.
            Dtype::F32 => of(f32::MIN_POSITIVE, greatest, f32::EPSILON),
            Dtype::BF16 => of(f32::MIN_POSITIVE, greatest, 1.0 / 128.0),
            // Subnormal F16 are not rare (weights below 0.03 in E4M3), and no runtime flushes them.
            Dtype::F16 => of(1.0 / 16_777_216.0, 65_504.0, 1.0 / 1024.0),
            other => Err(QuantError::ScaleDtype(other)),
        }
    }

    /// `scale` as it comes back from a file: never zero, never infinite.
    #[inline(always)]
    pub(crate) fn rounded(self, scale: f32) -> f32 {
        let magnitude = scale.abs().clamp(self.least, self.greatest);
        rounded(self.dtype, magnitude).copysign(scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(dtype: Dtype) -> Stored {
        Stored::new(dtype, 8.0).expect("a type of scales")
    }

    #[test]
    fn scales_and_weights_are_finite_whatever_is_asked_for() {
        for dtype in [Dtype::F32, Dtype::BF16, Dtype::F16] {
            for asked in [0.0, 1e-45, 1e-39, 1e-6, 1.0, 65_519.9, 1e38, f32::MAX, f32::INFINITY] {
                for asked in [asked, -asked] {
                    let scale = stored(dtype).rounded(asked);
                    assert!((scale * 8.0).is_finite() && scale != 0.0, "{dtype} {asked}: {scale}");
                    assert_eq!(scale.is_sign_negative(), asked.is_sign_negative());
                    assert_eq!(rounded(dtype, scale), scale, "{dtype} {asked}");
                }
            }
        }
        assert_eq!(Stored::new(Dtype::F64, 8.0).err(), Some(QuantError::ScaleDtype(Dtype::F64)));
    }

    #[test]
    fn scales_of_ordinary_size_are_rounded_to_their_type() {
        let check = |dtype, asked, expected| assert_eq!(stored(dtype).rounded(asked), expected);
        check(Dtype::F32, 0.1, 0.1);
        check(Dtype::BF16, 0.1, 0.100_097_656);
        check(Dtype::F16, -0.1, -0.099_975_586);
        check(Dtype::F16, 1e-5, 1.001_358e-5);
    }

    #[test]
    fn epsilons_are_those_of_compressed_tensors() {
        assert_eq!(stored(Dtype::F32).epsilon, 1.192_092_9e-7);
        assert_eq!(stored(Dtype::BF16).epsilon, 0.007_812_5);
        assert_eq!(stored(Dtype::F16).epsilon, 0.000_976_562_5);
    }
}
