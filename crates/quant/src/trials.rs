//! Which scales and zero points the search tries for a tile.
//!
//! A scale is named by its *reach*: how many of it lie between the middle of the tile and its ends.
//! At round to nearest's reach, the half range of the levels, both ends just fit; greater ones clip.

use crate::band::Target;
use crate::normalized::Normalized;
use crate::sums::Candidate;
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
        Levels::Integer { .. } => &[Whole(First, 3), Closer(1)],
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
            _ => {
                let first = if extent.greatest > -extent.least { -1.0 } else { 1.0 };
                (extent.magnitude(), Sides::Signs { first })
            }
        };
        let span = match target.levels {
            Levels::Integer { high, .. } => {
                integer_span(half_range, high, tile.count, half_spread / tile.root_mean_square)
            }
            // Relative errors are the same an octave further on; up to 464 rounds to 448.
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

/// The reaches that can be best for integers up to `high`, in a tile whose ends are at `ends` root mean
/// squares.
///
/// Rounding moves what is best to both sides, by more steps the more there are. To clip the end by
/// some steps costs their square and saves rounding errors: with `n` weights, `n / 12` times twice
/// their share of the reach, which balances at `n / 12` over the reach. Nor is it ever good to
/// take steps much below the best for a normal distribution, whose tails are the least.
#[inline(always)]
fn integer_span(half_range: f32, high: i8, count: usize, ends: f32) -> Range<f32> {
    // J. Max, Quantizing for minimum distortion (1960), and the same optimum for more levels.
    let best_normal_step = match high {
        ..=1 => 0.9957,
        ..=3 => 0.5860,
        ..=7 => 0.3352,
        ..=15 => 0.1881,
        ..=31 => 0.1041,
        ..=63 => 0.0569,
        _ => 0.0308,
    };
    let margin = 0.5 * half_range.sqrt();
    let clipping = (count as f32 / (12.0 * half_range))
        .min(ends / (0.75 * best_normal_step) - half_range - margin);
    half_range - margin..half_range + margin + clipping.max(0.0)
}
