//! How far the weights of a tile reach.

/// The least and the greatest weight of a tile, zero included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extent {
    pub(crate) least: f32,
    pub(crate) greatest: f32,
    /// Whether every weight is finite.
    pub(crate) finite: bool,
}

impl Extent {
    /// Of the weights in `segments`. One pass; the bounds of a tile that is not finite mean nothing.
    #[inline(always)]
    pub(crate) fn of<'a>(segments: impl Iterator<Item = &'a [f32]>, symmetric: bool) -> Self {
        let (mut magnitude, mut least, mut greatest) = (0u32, 0.0f32, 0.0f32);
        for segment in segments {
            // Without their sign, bit patterns are ordered as the numbers are, and NaN comes last.
            for &weight in segment {
                magnitude = magnitude.max(weight.to_bits() & 0x7fff_ffff);
            }
            if !symmetric {
                for &weight in segment {
                    least = if weight < least { weight } else { least };
                    greatest = if weight > greatest { weight } else { greatest };
                }
            }
        }
        let absolute = f32::from_bits(magnitude);
        let finite = absolute.is_finite();
        if symmetric {
            return Self { least: -absolute, greatest: absolute, finite };
        }
        Self { least, greatest, finite }
    }

    /// The greatest magnitude.
    #[inline(always)]
    pub(crate) fn magnitude(self) -> f32 {
        if -self.least > self.greatest { -self.least } else { self.greatest }
    }

    /// Half the distance from the least to the greatest weight; finite for finite weights.
    #[inline(always)]
    pub(crate) fn half_spread(self) -> f32 {
        self.greatest * 0.5 - self.least * 0.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(weights: &[f32], symmetric: bool) -> Extent {
        Extent::of(weights.chunks(3), symmetric)
    }

    #[test]
    fn extents_include_zero() {
        let check = |weights: &[f32], least, greatest, magnitude, half_spread| {
            let extent = extent(weights, false);
            assert_eq!((extent.least, extent.greatest), (least, greatest), "{weights:?}");
            assert_eq!(extent.magnitude(), magnitude, "{weights:?}");
            assert_eq!(extent.half_spread(), half_spread, "{weights:?}");
            assert!(extent.finite);
        };
        check(&[], 0.0, 0.0, 0.0, 0.0);
        check(&[-0.0; 5], 0.0, 0.0, 0.0, 0.0);
        check(&[1.0, 3.0, 2.0, 2.5], 0.0, 3.0, 3.0, 1.5);
        check(&[-1.0, -3.0], -3.0, 0.0, 3.0, 1.5);
        check(&[-3e38, 1.0, 2.0, 3e38, 0.0], -3e38, 3e38, 3e38, 3e38);
        let symmetric = extent(&[1.0, -4.0, 2.0, 3.0], true);
        assert_eq!((symmetric.least, symmetric.greatest), (-4.0, 4.0));
    }

    #[test]
    fn one_weight_that_is_not_finite_is_noticed_wherever_it_stands() {
        for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for position in 0..37 {
                let mut weights = [0.25; 37];
                weights[position] = value;
                assert!(!extent(&weights, false).finite && !extent(&weights, true).finite);
            }
        }
    }
}
