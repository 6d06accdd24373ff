//! Which scales and zero points the search tries for a tile.
//!
//! A scale is named by its *reach*: how many of it lie between the middle of the tile and its ends.
//! At round to nearest's reach, the half range of the levels, both ends just fit; greater ones clip.

use crate::normalized::Normalized;
use crate::sums::Candidate;
use crate::target::Target;
use llmopt_scheme::Levels;
use std::ops::Range;

/// One step of the search: so many batches of reaches, all at equal distances.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    /// Over all that can be best.
    Whole(Side, usize),
    /// Over those that clip.
    Clipping(Side, usize),
    /// Around the best so far, on its side.
    Closer(usize),
}

/// Reaches that are tried together.
pub(crate) const BATCH: usize = 4;

/// Which of the two candidates of a reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Side {
    /// The scale with which the greatest magnitude gets the least code; the lower zero point.
    First,
    /// The scale of the other sign; the upper zero point.
    Second,
}

/// The stages for a kind of grid.
#[inline(always)]
pub(crate) fn stages(target: Target) -> &'static [Stage] {
    use Side::{First, Second};
    use Stage::{Clipping, Closer, Whole};
    match target.levels {
        Levels::Integer { .. } if !target.symmetric => {
            &[Whole(First, 2), Whole(Second, 2), Closer(2)]
        }
        // Which end has a code more matters when codes are few.
        Levels::Integer { high: ..16, .. } => &[Whole(First, 2), Clipping(Second, 1), Closer(1)],
        Levels::Integer { .. } => &[Whole(First, 3), Closer(2)],
        Levels::E4m3 => &[Whole(First, 6), Closer(1)],
    }
}

impl Stage {
    #[inline(always)]
    pub(crate) fn side(self) -> Option<Side> {
        match self {
            Self::Whole(side, _) | Self::Clipping(side, _) => Some(side),
            Self::Closer(_) => None,
        }
    }

    #[inline(always)]
    pub(crate) fn batches(self) -> usize {
        match self {
            Self::Whole(_, batches) | Self::Clipping(_, batches) | Self::Closer(batches) => batches,
        }
    }
}

/// The candidates of a tile, by reach and side.
pub(crate) struct Axis {
    /// One over half the distance between the ends.
    per_half_spread: f32,
    /// What is clipped begins here.
    half_range: f32,
    span: Range<f32>,
    sides: Sides,
}

enum Sides {
    Signs { first: f32 },
    ZeroPoints { middle: f32, low: f32, high: f32 },
}

impl Axis {
    #[inline(always)]
    pub(crate) fn new(tile: &Normalized<'_>, target: Target) -> Self {
        let (extent, half_range) = (tile.extent, target.levels.half_range());
        let (half_spread, sides) = match target.levels {
            Levels::Integer { low, high } if !target.symmetric => {
                let (low, high) = (f32::from(low), f32::from(high));
                let middle = extent.middle();
                (extent.half_spread(), Sides::ZeroPoints { middle, low, high })
            }
            Levels::Integer { .. } => {
                let first = if extent.greatest > -extent.least { -1.0 } else { 1.0 };
                (extent.magnitude(), Sides::Signs { first })
            }
            Levels::E4m3 => (extent.magnitude(), Sides::Signs { first: 1.0 }),
        };
        let span = match target.levels {
            Levels::Integer { high, .. } => {
                let ends = half_spread / tile.root_mean_square;
                integer_span(half_range, high, tile.count, ends)
            }
            // An octave: what comes before and after has the same relative errors. Half way beyond
            // the greatest level, nothing is clipped by more than it would be rounded.
            Levels::E4m3 => 232.0..464.0,
        };
        Self { per_half_spread: 1.0 / half_spread, half_range, span, sides }
    }

    /// The reaches of a stage, after one whose trials were `step` apart and `best` the best of all.
    #[inline(always)]
    pub(crate) fn span(&self, stage: Stage, best: f32, step: f32) -> Range<f32> {
        match stage {
            Stage::Whole(..) => self.span.clone(),
            Stage::Clipping(..) => self.half_range + 0.5..self.span.end,
            Stage::Closer(_) => best - 0.75 * step..best + 0.75 * step,
        }
    }

    #[inline(always)]
    pub(crate) fn candidate(&self, reach: f32, side: Side) -> Candidate {
        let inverse = reach * self.per_half_spread;
        match self.sides {
            Sides::Signs { first } => {
                let sign = if side == Side::First { first } else { -first };
                Candidate { inverse: sign * inverse, zero: 0.0 }
            }
            Sides::ZeroPoints { middle, low, high } => {
                let below = ((low + high) * 0.5 - middle * inverse).floor();
                let zero = if side == Side::First { below } else { below + 1.0 };
                Candidate { inverse, zero: zero.clamp(low, high) }
            }
        }
    }
}

/// The reaches among which the best is found, for integers up to `high` and `count` weights whose
/// ends are `ends` root mean squares from their middle.
///
/// About the half range, chance decides: a margin to both sides. Beyond it, clipping the very end by
/// a share x of its `half_range` steps costs their square and makes all rounding errors less by
/// 2x, of a twelfth of a squared step each. The best share is `count / (12 half_range^2)`. Where
/// more than the very end would be clipped, a step much below the best one for a normal
/// distribution is too small.
#[inline(always)]
fn integer_span(half_range: f32, high: i8, count: usize, ends: f32) -> Range<f32> {
    // J. Max, Quantizing for minimum distortion (1960), and the same optimum for more levels.
    let best_normal_step = match high {
        ..2 => 0.9957,
        2..4 => 0.5860,
        4..8 => 0.3352,
        8..16 => 0.1881,
        16..32 => 0.1041,
        32..64 => 0.0569,
        _ => 0.0308,
    };
    let margin = 0.5 * half_range.sqrt();
    let clipping = (count as f32 / (12.0 * half_range))
        .min(ends / (0.75 * best_normal_step) - half_range - margin);
    half_range - margin..half_range + margin + clipping.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_hold_the_reach_of_round_to_nearest_and_little_more() {
        let check = |half_range: f32, high, count, ends, expected: Range<f32>| {
            let span = integer_span(half_range, high, count, ends);
            let same = |a: f32, b: f32| (a - b).abs() < 0.05;
            assert!(same(span.start, expected.start) && same(span.end, expected.end), "{span:?}");
        };
        // The square root of 7.5 is 2.74, 128 / (12 * 7.5) is 1.42.
        check(7.5, 7, 128, 3.0, 6.13..10.29);
        // A flat tile: 2 / (0.75 * 0.3352) is 7.96, less than 8.87.
        check(7.5, 7, 128, 2.0, 6.13..8.87);
        check(127.5, 127, 4096, 4.0, 121.85..135.82);
        // One far outlier among many: 60 / (0.75 * 0.3352) is 238.7, but 4096 / 90 is 45.5.
        check(7.5, 7, 4096, 60.0, 6.13..54.38);
    }

    #[test]
    fn sides_are_the_two_signs_or_the_two_zero_points() {
        let axis = |sides| Axis { per_half_spread: 0.5, half_range: 7.5, span: 6.0..10.0, sides };
        let check = |sides, first: (f32, f32), second: (f32, f32)| {
            let axis = axis(sides);
            let candidate = |side| {
                let Candidate { inverse, zero } = axis.candidate(8.0, side);
                (inverse, zero)
            };
            assert_eq!((candidate(Side::First), candidate(Side::Second)), (first, second));
        };
        check(Sides::Signs { first: -1.0 }, (-4.0, 0.0), (4.0, 0.0));
        // The middle of the weights, at 0.7 / 0.25 = 2.8, goes to the middle of the codes, -0.5.
        let zero_points = |middle| Sides::ZeroPoints { middle, low: -8.0, high: 7.0 };
        check(zero_points(0.7), (4.0, -4.0), (4.0, -3.0));
        check(zero_points(2.0), (4.0, -8.0), (4.0, -8.0));
        check(zero_points(-2.0), (4.0, 7.0), (4.0, 7.0));
    }

    #[test]
    fn closer_sweeps_stay_around_the_best() {
        let sides = Sides::Signs { first: 1.0 };
        let axis = Axis { per_half_spread: 1.0, half_range: 7.5, span: 6.0..10.0, sides };
        assert_eq!(axis.span(Stage::Whole(Side::First, 2), 0.0, 0.0), 6.0..10.0);
        assert_eq!(axis.span(Stage::Clipping(Side::Second, 1), 7.0, 0.5), 8.0..10.0);
        assert_eq!(axis.span(Stage::Closer(1), 7.0, 0.5), 6.625..7.375);
    }
}
