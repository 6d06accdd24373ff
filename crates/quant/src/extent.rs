//! How far the weights of a tile reach.

use crate::sums::LANES;

/// The least and the greatest weight of a tile, zero included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Extent {
    pub(crate) least: f32,
    pub(crate) greatest: f32,
}

impl Extent {
    /// Of the weights in `segments`; `None` if one of them is not finite.
    #[inline(always)]
    pub(crate) fn of<'a>(segments: impl Iterator<Item = &'a [f32]>) -> Option<Self> {
        let (mut least, mut greatest) = ([0.0f32; LANES], [0.0f32; LANES]);
        // Without their sign, bit patterns are ordered as the numbers are, and NaN comes last.
        let mut magnitude = [0u32; LANES];
        for segment in segments {
            let mut include = |weights: &[f32; LANES]| {
                for lane in 0..LANES {
                    least[lane] = lesser(weights[lane], least[lane]);
                    greatest[lane] = greater(weights[lane], greatest[lane]);
                    magnitude[lane] = magnitude[lane].max(weights[lane].to_bits() & 0x7fff_ffff);
                }
            };
            let (chunks, rest) = segment.as_chunks();
            chunks.iter().for_each(&mut include);
            if !rest.is_empty() {
                let mut last = [0.0; LANES];
                last[..rest.len()].copy_from_slice(rest);
                include(&last);
            }
        }
        let finite = f32::from_bits(reduced(&magnitude, u32::max)).is_finite();
        let (least, greatest) = (reduced(&least, lesser), reduced(&greatest, greater));
        finite.then_some(Self { least, greatest })
    }

    /// The greatest magnitude.
    #[inline(always)]
    pub(crate) fn magnitude(self) -> f32 {
        if -self.least > self.greatest { -self.least } else { self.greatest }
    }

    /// Half the distance between the ends; finite, as they are.
    #[inline(always)]
    pub(crate) fn half_spread(self) -> f32 {
        self.greatest * 0.5 - self.least * 0.5
    }

    /// Half way between the ends.
    #[inline(always)]
    pub(crate) fn middle(self) -> f32 {
        self.greatest * 0.5 + self.least * 0.5
    }

    /// The extent of the weights times `factor`.
    #[inline(always)]
    pub(crate) fn scaled(self, factor: f32) -> Self {
        Self { least: self.least * factor, greatest: self.greatest * factor }
    }
}

/// The lanes taken together, half with half.
#[inline(always)]
fn reduced<T: Copy>(lanes: &[T; LANES], join: impl Fn(T, T) -> T) -> T {
    let mut lanes = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// One instruction, unlike `f32::min`, which looks for NaN.
#[inline(always)]
fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// Likewise.
#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(weights: &[f32]) -> Option<Extent> {
        Extent::of(weights.chunks(19))
    }

    #[test]
    fn extents_include_zero() {
        let check = |weights: &[f32], least, greatest, magnitude, half_spread| {
            let extent = extent(weights).expect("finite");
            assert_eq!((extent.least, extent.greatest), (least, greatest), "{weights:?}");
            assert_eq!(extent.magnitude(), magnitude, "{weights:?}");
            assert_eq!(extent.half_spread(), half_spread, "{weights:?}");
        };
        check(&[], 0.0, 0.0, 0.0, 0.0);
        check(&[-0.0; 25], 0.0, 0.0, 0.0, 0.0);
        check(&[1.0, 3.0, 2.0, 2.5], 0.0, 3.0, 3.0, 1.5);
        check(&[-1.0, -3.0], -3.0, 0.0, 3.0, 1.5);
        check(&[-3e38, 1.0, 2.0, 3e38, 0.0], -3e38, 3e38, 3e38, 3e38);
    }

    #[test]
    fn one_weight_that_is_not_finite_is_noticed_wherever_it_stands() {
        for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for position in 0..37 {
                let mut weights = [0.25; 37];
                weights[position] = value;
                assert_eq!(extent(&weights), None);
            }
        }
    }
}
