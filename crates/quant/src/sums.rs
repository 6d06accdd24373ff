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

/// How much the error of each weight counts, known to the compiler like a lattice.
pub(crate) trait Importance: Copy {
    /// `x` times the importance of a weight: lane `lane` of the tile's lanes `index`.
    fn times(self, index: usize, lane: usize, x: f32) -> f32;
}

/// Every weight counts alike.
#[derive(Clone, Copy)]
pub(crate) struct Alike;

/// A number for each weight, none negative.
#[derive(Clone, Copy)]
pub(crate) struct Weighted<'a>(pub(crate) &'a [[f32; LANES]]);

impl Importance for Alike {
    #[inline(always)]
    fn times(self, _: usize, _: usize, x: f32) -> f32 {
        x
    }
}

impl Importance for Weighted<'_> {
    #[inline(always)]
    fn times(self, index: usize, lane: usize, x: f32) -> f32 {
        self.0[index][lane] * x
    }
}

/// Sums over the weights `w` of a tile and the levels `q` nearest to them, each term times the
/// importance of its weight.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fitness {
    /// Sum of `w * q`.
    pub(crate) cross: f64,
    /// Sum of `q * q`.
    pub(crate) square: f64,
}

impl Fitness {
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

/// The sums for the levels to which each of the candidates rounds a tile.
///
/// Several at a time, since adding up lanes takes as long as some dozen weights.
#[inline(always)]
pub(crate) fn fitness<const K: usize>(
    lattice: impl Lattice,
    importance: impl Importance,
    tile: &[[f32; LANES]],
    candidates: &[Candidate; K],
) -> [Fitness; K] {
    let mut fitness = [Fitness::default(); K];
    for (number, run) in tile.chunks(RUN).enumerate() {
        let mut lanes = [[[0.0; LANES]; 2]; K];
        for k in 0..K {
            lanes[k] = run_fitness(lattice, importance, number * RUN, run, candidates[k]);
        }
        for k in 0..K {
            fitness[k].cross += total(&lanes[k][0]);
            fitness[k].square += total(&lanes[k][1]);
        }
    }
    fitness
}

#[inline(always)]
fn run_fitness(
    lattice: impl Lattice,
    importance: impl Importance,
    first: usize,
    run: &[[f32; LANES]],
    candidate: Candidate,
) -> [[f32; LANES]; 2] {
    let (mut cross, mut square) = ([0.0; LANES], [0.0; LANES]);
    for (index, weights) in run.iter().enumerate() {
        for lane in 0..LANES {
            let level = lattice.nearest(weights[lane] * candidate.inverse, candidate.zero);
            let weighted = importance.times(first + index, lane, level);
            cross[lane] += weights[lane] * weighted;
            square[lane] += level * weighted;
        }
    }
    [cross, square]
}

/// The squared error, weighted by importance, that `scale` and `zero` leave.
#[inline(always)]
pub(crate) fn squared_error(
    lattice: impl Lattice,
    importance: impl Importance,
    tile: &[[f32; LANES]],
    scale: f32,
    zero: f32,
) -> f64 {
    let inverse = 1.0 / scale;
    let mut sum = 0.0;
    for (number, run) in tile.chunks(RUN).enumerate() {
        let mut squares = [0.0; LANES];
        for (index, weights) in run.iter().enumerate() {
            for lane in 0..LANES {
                let level = lattice.nearest(weights[lane] * inverse, zero);
                let error = weights[lane] - scale * level;
                let weighted = importance.times(number * RUN + index, lane, error);
                squares[lane] += error * weighted;
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

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_scheme::{Levels, Numeric};

    /// More than a run of lanes, of both signs, with zeros at the end.
    fn tile() -> Vec<[f32; LANES]> {
        let weight = |i: usize| ((i * 7919 + 13) % 2003) as f32 / 1001.0 - 1.0;
        let weights = |lanes: usize| std::array::from_fn(|lane| weight(lanes * LANES + lane));
        (0..RUN + 9).map(weights).chain([[0.0; LANES]]).collect()
    }

    /// The sums, one by one in f64.
    fn check(
        lattice: impl Lattice,
        levels: Levels,
        importance: impl Importance,
        candidates: [Candidate; 2],
    ) {
        let tile = tile();
        let sums = fitness(lattice, importance, &tile, &candidates);
        for (candidate, sums) in candidates.into_iter().zip(sums) {
            let (mut cross, mut square, mut error) = (0.0, 0.0, 0.0);
            let Candidate { inverse, zero } = candidate;
            for (i, &weight) in tile.as_flattened().iter().enumerate() {
                let a = f64::from(importance.times(i / LANES, i % LANES, 1.0));
                let level = f64::from(levels.nearest(weight * inverse + zero) - zero);
                cross += a * f64::from(weight) * level;
                square += a * level * level;
                error += a * (f64::from(weight) - level / f64::from(inverse)).powi(2);
            }
            let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-5;
            assert!(close(sums.cross, cross) && close(sums.square, square), "{candidate:?}");
            let found = squared_error(lattice, importance, &tile, 1.0 / inverse, zero);
            assert!(close(found, error));
            assert!(close(f64::from(sums.scale()), cross / square));
        }
    }

    #[test]
    fn sums_agree_with_those_of_the_levels_one_by_one() {
        let candidates = |a: f32, b: f32, zero| {
            [Candidate { inverse: a, zero: 0.0 }, Candidate { inverse: b, zero }]
        };
        let importance: Vec<[f32; LANES]> = tile().iter().map(|w| w.map(|w| w * w * 9.0)).collect();
        let weighted = Weighted(&importance);
        for bits in 2..=8 {
            let levels = Levels::new(Numeric::Int { bits });
            let half = f32::from(1u8 << (bits - 1));
            let lattice = Integers { low: -half, high: half - 1.0 };
            check(lattice, levels, Alike, candidates(half * 1.1, -half * 1.3, 1.0));
            check(lattice, levels, Alike, candidates(half * 0.9, half * 2.0, -half));
            check(lattice, levels, weighted, candidates(half * 0.9, half * 2.0, -half));
        }
        check(E4m3, Levels::E4m3, Alike, candidates(440.0, 300.0, 0.0));
        check(E4m3, Levels::E4m3, weighted, candidates(440.0, 300.0, 0.0));
        assert!((sum_of_squares(&[[0.5; LANES]; 100]) - 400.0).abs() < 1e-9);
    }

    #[test]
    fn levels_that_leave_less_error_gain_more() {
        let fitness = |cross, square| Fitness { cross, square };
        assert!(fitness(3.0, 2.0).gains_more_than(fitness(2.0, 1.0)));
        assert!(!fitness(2.0, 1.0).gains_more_than(fitness(-2.0, 1.0)));
        assert!(!fitness(0.0, 0.0).gains_more_than(fitness(0.0, 1.0)));
    }
}
