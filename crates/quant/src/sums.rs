//! What a scale would cost: sums over a tile.

use llmopt_tensor::{round_half_even, rounded_to_e4m3_without_negative_zero};

/// A scale and a zero point that a tile might get.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Candidate {
    /// One over the scale.
    pub(crate) inverse: f32,
    pub(crate) zero: f32,
}

/// How weights become levels, known to the compiler when it compiles a loop.
pub(crate) trait Lattice: Copy {
    /// The level nearest to `x`, relative to the zero point; both in units of the scale.
    fn nearest(self, x: f32, zero: f32) -> f32;
}

/// The integers from `low` to `high`.
#[derive(Clone, Copy)]
pub(crate) struct Integers {
    pub(crate) low: f32,
    pub(crate) high: f32,
}

/// The values of E4M3.
#[derive(Clone, Copy)]
pub(crate) struct E4m3;

impl Lattice for Integers {
    #[inline(always)]
    fn nearest(self, x: f32, zero: f32) -> f32 {
        let (low, high) = (self.low - zero, self.high - zero);
        let x = if x < low { low } else { x };
        round_half_even(if x > high { high } else { x })
    }
}

impl Lattice for E4m3 {
    #[inline(always)]
    fn nearest(self, x: f32, _: f32) -> f32 {
        rounded_to_e4m3_without_negative_zero(x)
    }
}

/// Sums over the weights `w` of a tile and the levels `q` nearest to them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    /// Sum of `w * q`.
    pub(crate) cross: f64,
    /// Sum of `q * q`.
    pub(crate) square: f64,
}

impl Moments {
    /// The scale that fits these levels best.
    #[inline(always)]
    pub(crate) fn scale(self) -> f32 {
        (self.cross / self.square) as f32
    }

    /// Whether less error is left at the best scale than with the levels of `other` at theirs: the
    /// squared error is less than that of zeros by `cross^2 / square`.
    #[inline(always)]
    pub(crate) fn gains_more_than(self, other: Self) -> bool {
        self.cross * self.cross * other.square > other.cross * other.cross * self.square
    }
}

/// The moments of the levels to which each of the candidates rounds a tile.
///
/// Several at a time, since adding up lanes takes as long as some dozen weights.
#[inline(always)]
pub(crate) fn moments<const K: usize>(
    lattice: impl Lattice,
    tile: &[[f32; LANES]],
    candidates: &[Candidate; K],
) -> [Moments; K] {
    let mut moments = [Moments::default(); K];
    for run in tile.chunks(RUN) {
        let mut lanes = [[[0.0; LANES]; 2]; K];
        for k in 0..K {
            lanes[k] = run_moments(lattice, run, candidates[k]);
        }
        for k in 0..K {
            moments[k].cross += total(&lanes[k][0]);
            moments[k].square += total(&lanes[k][1]);
        }
    }
    moments
}

#[inline(always)]
fn run_moments(
    lattice: impl Lattice,
    run: &[[f32; LANES]],
    candidate: Candidate,
) -> [[f32; LANES]; 2] {
    let (mut cross, mut square) = ([0.0; LANES], [0.0; LANES]);
    for weights in run {
        for lane in 0..LANES {
            let level = lattice.nearest(weights[lane] * candidate.inverse, candidate.zero);
            cross[lane] += weights[lane] * level;
            square[lane] += level * level;
        }
    }
    [cross, square]
}

/// The squared error that `scale` and `zero` leave.
#[inline(always)]
pub(crate) fn squared_error(
    lattice: impl Lattice,
    tile: &[[f32; LANES]],
    scale: f32,
    zero: f32,
) -> f64 {
    let inverse = 1.0 / scale;
    let mut sum = 0.0;
    for run in tile.chunks(RUN) {
        let mut squares = [0.0; LANES];
        for weights in run {
            for lane in 0..LANES {
                let level = lattice.nearest(weights[lane] * inverse, zero);
                let error = weights[lane] - scale * level;
                squares[lane] += error * error;
            }
        }
        sum += total(&squares);
    }
    sum
}

/// The sum of the squares.
#[inline(always)]
pub(crate) fn sum_of_squares(tile: &[[f32; LANES]]) -> f64 {
    let mut sum = 0.0;
    for run in tile.chunks(RUN) {
        let mut squares = [0.0; LANES];
        for weights in run {
            for lane in 0..LANES {
                squares[lane] += weights[lane] * weights[lane];
            }
        }
        sum += total(&squares);
    }
    sum
}

/// The sum of the lanes. Not inlined: what is inlined may have its lanes shuffled, and the loops that
/// add to them with it.
#[inline(never)]
fn total(lanes: &[f32; LANES]) -> f64 {
    let quarter = |i: usize| f64::from((lanes[i] + lanes[i + 8]) + (lanes[i + 4] + lanes[i + 12]));
    (quarter(0) + quarter(2)) + (quarter(1) + quarter(3))
}

/// Weights side by side in the sums: as many on every machine, whatever its vectors hold.
pub(crate) const LANES: usize = 16;

/// So many terms of a sum are added in f32 before the rest goes on in f64: few enough for the sum to
/// be right to one part in a hundred thousand, and for sums of squared integers to be exact.
const RUN: usize = 64;
