//! Scale search: the scale at which a tile's squared error is least.

use crate::band::{Fit, Tile, quantized};
use crate::extent::Extent;
use crate::nearest::absmax;
use crate::normalized::{Normalized, Room};
use crate::sums::{
    Alike, Candidate, E4m3, Fitness, Importance, Integers, LANES, Lattice, fitness, squared_error,
};
use crate::target::{Affine, Target};
use crate::trials::{Axis, BATCH, Side, stages};
use crate::{QuantError, Quantizer};
use llmopt_scheme::{Granularity, Levels, QuantizedMatrix, Scheme};
use llmopt_tensor::Dtype;
use ndarray::ArrayView2;

/// Error-minimizing scales, `search`: per tile, the least squared error that some twenty scales and
/// zero points reach, and never more than round to nearest's.
///
/// For given levels `q` of the weights `w` the best scale is `sum(wq) / sum(qq)`, and what it gains
/// over zeros is `sum(wq)^2 / sum(qq)`. So each trial rounds the weights once and is judged by the
/// best scale for the levels that came out. Trials first span all that can be best, then close in.
/// Scales take either sign, since one end of the integers has a code more than the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Search;

impl Quantizer for Search {
    fn name(&self) -> &'static str {
        "search"
    }

    fn working_bytes(&self, rows: usize, columns: usize, scheme: &Scheme) -> usize {
        let weights = match scheme.granularity {
            Granularity::Channel => columns,
            Granularity::Group(group) => group.min(columns),
            Granularity::Block { rows: height, columns: width } => {
                height.min(rows).saturating_mul(width.min(columns))
            }
        };
        weights.saturating_add(LANES).saturating_mul(size_of::<f32>())
    }

    fn quantize(
        &self,
        weights: ArrayView2<'_, f32>,
        scheme: &Scheme,
        scale_dtype: Dtype,
    ) -> Result<QuantizedMatrix, QuantError> {
        quantized(weights, scheme, scale_dtype, ScaleSearch::default())
    }
}

/// The search, with what it keeps from tile to tile.
#[derive(Default)]
pub(crate) struct ScaleSearch {
    room: Room,
}

impl Fit for ScaleSearch {
    #[inline(always)]
    fn fit(&mut self, tile: &Tile<'_>, extent: Extent, target: Target) -> Affine {
        fitted(Alike, &self.room.normalized(tile, extent), absmax(extent, target), target)
    }
}

/// The best scale and zero point, where each weight counts by its importance.
#[inline(always)]
pub(crate) fn fitted(
    importance: impl Importance,
    tile: &Normalized<'_>,
    nearest: Affine,
    target: Target,
) -> Affine {
    match target.levels {
        Levels::Integer { low, high } => {
            let lattice = Integers { low: f32::from(low), high: f32::from(high) };
            searched(lattice, importance, tile, target, nearest)
        }
        Levels::E4m3 => searched(E4m3, importance, tile, target, nearest),
    }
}

/// The best trial so far.
#[derive(Clone, Copy)]
struct Best {
    fitness: Fitness,
    zero: f32,
    reach: f32,
    side: Side,
}

#[inline(always)]
fn searched(
    lattice: impl Lattice,
    importance: impl Importance,
    tile: &Normalized<'_>,
    target: Target,
    nearest: Affine,
) -> Affine {
    let axis = Axis::new(tile, target);
    let nothing = Fitness { cross: 0.0, square: 1.0 };
    let mut best = Best { fitness: nothing, zero: 0.0, reach: 0.0, side: Side::First };
    let mut step = 0.0;
    for &stage in stages(target) {
        let side = stage.side().unwrap_or(best.side);
        let span = axis.span(stage, best.reach, step);
        step = (span.end - span.start) / (stage.batches() * BATCH) as f32;
        for batch in 0..stage.batches() {
            let first = span.start + step * ((batch * BATCH) as f32 + 0.5);
            let batch = Batch { side, first, step };
            best = best_of_batch(lattice, importance, tile, &axis, batch, best);
        }
    }
    as_stored(lattice, importance, tile, target, nearest, best)
}

/// Trials side by side.
#[derive(Clone, Copy)]
struct Batch {
    side: Side,
    /// The least reach.
    first: f32,
    /// From one to the next.
    step: f32,
}

#[inline(always)]
fn best_of_batch(
    lattice: impl Lattice,
    importance: impl Importance,
    tile: &Normalized<'_>,
    axis: &Axis,
    Batch { side, first, step }: Batch,
    mut best: Best,
) -> Best {
    let mut candidates = [Candidate::default(); BATCH];
    for (k, candidate) in candidates.iter_mut().enumerate() {
        *candidate = axis.candidate(first + step * k as f32, side);
    }
    let trials = fitness(lattice, importance, tile.weights, &candidates);
    for k in 0..BATCH {
        if trials[k].gains_more_than(best.fitness) {
            let reach = first + step * k as f32;
            best = Best { fitness: trials[k], zero: candidates[k].zero, reach, side };
        }
    }
    best
}

/// The best scale as it can be stored, or what round to nearest takes.
#[inline(always)]
fn as_stored(
    lattice: impl Lattice,
    importance: impl Importance,
    tile: &Normalized<'_>,
    target: Target,
    nearest: Affine,
    best: Best,
) -> Affine {
    let scale = target.stored.rounded(best.fitness.scale() / tile.factor);
    let (mut choice, mut least) = (nearest, f64::INFINITY);
    for affine in [nearest, Affine { scale, zero: best.zero as i8 }] {
        let scale = affine.scale * tile.factor;
        let error = squared_error(lattice, importance, tile.weights, scale, f32::from(affine.zero));
        if error < least {
            // What is not less for certain, given how sums are rounded, does not count as less.
            (choice, least) = (affine, error * (1.0 - 1e-5));
        }
    }
    choice
}
