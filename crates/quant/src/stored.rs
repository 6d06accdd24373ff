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
    /// How far apart, as bit patterns of `f32`, two neighbours lie.
    step: u32,
}

impl Stored {
    pub(crate) fn new(dtype: Dtype) -> Result<Self, QuantError> {
        let of = |least, greatest, significand_bits: i32| Self {
            dtype,
            least,
            greatest,
            epsilon: f32::from_bits(((127 - significand_bits) as u32) << 23),
            step: 1 << (23 - significand_bits),
        };
        match dtype {
            // Subnormal F32 and BF16 are zero to a GPU that flushes them.
            Dtype::F32 => Ok(of(f32::MIN_POSITIVE, f32::MAX, 23)),
            Dtype::BF16 => Ok(of(f32::MIN_POSITIVE, f32::from_bits(0x7f7f_0000), 7)),
            // Subnormal F16 are common scales (weights below 0.03 in E4M3) and no runtime flushes
            // them.
            Dtype::F16 => Ok(of(1.0 / 16_777_216.0, 65_504.0, 10)),
            other => Err(QuantError::ScaleDtype(other)),
        }
    }

    /// `scale` as it comes back from a file: never zero, never infinite.
    #[inline(always)]
    pub(crate) fn rounded(self, scale: f32) -> f32 {
        let magnitude = scale.abs().clamp(self.least, self.greatest);
        rounded(self.dtype, magnitude).copysign(scale)
    }

    /// The stored values next to `scale`, itself one: the smaller and the greater in magnitude.
    #[inline(always)]
    pub(crate) fn neighbours(self, scale: f32) -> [f32; 2] {
        let bits = scale.to_bits();
        let stepped = |bits| self.rounded(f32::from_bits(bits));
        [stepped(bits - self.step), stepped(bits + self.step)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_finite_and_not_zero_whatever_is_asked_for() {
        for dtype in [Dtype::F32, Dtype::BF16, Dtype::F16] {
            let stored = Stored::new(dtype).expect("a type of scales");
            for asked in [0.0, 1e-45, 1e-39, 1e-6, 1.0, 65_519.9, 1e38, f32::MAX, f32::INFINITY] {
                for asked in [asked, -asked] {
                    let scale = stored.rounded(asked);
                    assert!(scale.is_finite() && scale != 0.0, "{dtype} {asked}: {scale}");
                    assert_eq!(scale.is_sign_negative(), asked.is_sign_negative());
                    assert_eq!(rounded(dtype, scale), scale, "{dtype} {asked}");
                    for neighbour in stored.neighbours(scale) {
                        assert!(neighbour.is_finite() && neighbour != 0.0, "{dtype} {asked}");
                        assert_eq!(rounded(dtype, neighbour), neighbour);
                    }
                }
            }
        }
        assert_eq!(Stored::new(Dtype::F64).err(), Some(QuantError::ScaleDtype(Dtype::F64)));
    }

    #[test]
    fn neighbours_are_one_step_away() {
        let check = |dtype, scale, below, above| {
            let stored = Stored::new(dtype).expect("a type of scales");
            assert_eq!(stored.neighbours(scale), [below, above]);
        };
        check(Dtype::BF16, 1.0, 0.996_093_75, 1.007_812_5);
        check(Dtype::BF16, -1.0, -0.996_093_75, -1.007_812_5);
        check(Dtype::F16, 1.0, 0.999_511_7, 1.000_976_6);
        check(Dtype::F32, 1.0, 0.999_999_94, 1.000_000_1);
    }

    #[test]
    fn epsilons_are_those_of_compressed_tensors() {
        let epsilon = |dtype| Stored::new(dtype).expect("a type of scales").epsilon;
        assert_eq!(epsilon(Dtype::F32), f32::EPSILON);
        assert_eq!(epsilon(Dtype::BF16), 0.007_812_5);
        assert_eq!(epsilon(Dtype::F16), 0.000_976_562_5);
    }
}
