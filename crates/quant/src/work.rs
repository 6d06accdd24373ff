//! A matrix on its way to codes.

use crate::lanes::{Column, ROWS};
use crate::sums::LANES;
use crate::target::{Affine, Target};
use llmopt_scheme::{Grid, QuantizedMatrix, Tiles};
use rayon::prelude::*;

/// A matrix whose rows are quantized in chunks, side by side.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) target: Target,
    pub(crate) tiles: Tiles,
    /// What the codes are to come close to, less what they stand for. `[rows, columns]`, in an order
    /// of columns of its owner's.
    errors: Vec<f32>,
    /// `[rows, columns]`.
    codes: Vec<i8>,
    /// For each chunk, those of each tile from left to right.
    scales: Vec<Affines>,
    /// What is left of each row `e` of the errors in the damped Gram matrix, `e H e^T`, as far as
    /// rounding has come.
    left: Vec<f64>,
}

/// A matrix that was rounded.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounded {
    /// Its codes.
    pub codes: QuantizedMatrix,
    /// What the codes were to come close to, less what they stand for: `[rows, columns]`. Where a
    /// method makes up for inputs that have changed, that is not the weights.
    pub errors: Vec<f32>,
    /// What these errors make of the outputs on the inputs that the solver was made of: `|E X|^2`, over
    /// tokens and rows. As [`crate::squared_outputs`], but known from rounding without another product.
    pub squared_outputs: f64,
}

/// The scales and zero points of a tile of each row of a chunk.
#[derive(Clone, Copy)]
pub(crate) struct Affines {
    pub(crate) scale: Column,
    pub(crate) zero: Column,
}

/// Some rows of the work.
pub(crate) struct Chunk<'a> {
    pub(crate) errors: &'a mut [f32],
    pub(crate) codes: &'a mut [i8],
    pub(crate) scales: &'a mut [Affines],
    /// Of each row: what is left of its errors.
    pub(crate) left: &'a mut [f64],
}

impl Work {
    /// Without any codes, errors are `targets`. Tiles have one row.
    pub(crate) fn new(target: Target, tiles: Tiles, targets: Vec<f32>) -> Self {
        let chunks = tiles.rows().div_ceil(ROWS);
        let scales = vec![Affines::NONE; chunks * tiles.across()];
        let (codes, left) = (vec![0; targets.len()], vec![0.0; tiles.rows()]);
        Self { target, tiles, codes, errors: targets, scales, left }
    }

    /// The memory that it holds.
    pub(crate) fn bytes(tiles: Tiles) -> usize {
        let chunks = tiles.rows().div_ceil(ROWS);
        let scales = chunks * tiles.across() * size_of::<Affines>();
        let left = tiles.rows() * size_of::<f64>();
        tiles.rows() * tiles.columns() * (size_of::<f32>() + size_of::<i8>()) + scales + left
    }

    /// Works on all rows, in chunks of [`ROWS`].
    pub(crate) fn each_chunk(&mut self, work: impl Fn(Chunk<'_>) + Sync) {
        let mut nothing = vec![(); self.tiles.rows()];
        self.each_chunk_with(&mut nothing, |chunk, _| work(chunk));
    }

    /// Works on all rows, in chunks of [`ROWS`], and on what there is for each row.
    pub(crate) fn each_chunk_with<T: Send>(
        &mut self,
        each: &mut [T],
        work: impl Fn(Chunk<'_>, &mut [T]) + Sync,
    ) {
        let length = ROWS * self.tiles.columns();
        let errors = self.errors.par_chunks_mut(length);
        let codes = self.codes.par_chunks_mut(length);
        let scales = self.scales.par_chunks_mut(self.tiles.across());
        let left = self.left.par_chunks_mut(ROWS);
        let each = each.par_chunks_mut(ROWS);
        let chunks = errors.zip(codes).zip(scales).zip(left).zip(each).with_max_len(1);
        chunks.for_each(|((((errors, codes), scales), left), each)| {
            work(Chunk { errors, codes, scales, left }, each);
        });
    }

    /// The codes, on their grid, and the errors that they leave, `e H e^T` for `H` the Gram matrix times
    /// `unit` and with `damping` on its diagonal.
    pub(crate) fn finished(mut self, unit: f64, damping: f64) -> Rounded {
        self.each_chunk(|chunk| {
            let rows = chunk.errors.chunks_exact(chunk.errors.len() / chunk.left.len());
            for (left, errors) in chunk.left.iter_mut().zip(rows) {
                *left -= damping * sum_of_squares(errors);
            }
        });
        // Rounding may leave less than nothing of what is next to nothing.
        let squared_outputs = (self.left.iter().sum::<f64>() / unit).max(0.0);
        let (rows, across) = (self.tiles.rows(), self.tiles.across());
        let affine = |row: usize, tile: usize| {
            let affines = &self.scales[row / ROWS * across + tile];
            (affines.scale[row % ROWS], affines.zero[row % ROWS])
        };
        let each = || (0..rows).flat_map(|row| (0..across).map(move |tile| affine(row, tile)));
        let scales = each().map(|(scale, _)| scale).collect();
        let zero_points = match self.target.symmetric {
            true => Vec::new(),
            false => each().map(|(_, zero)| zero as i8).collect(),
        };
        let grid = Grid { levels: self.target.levels, tiles: self.tiles, scales, zero_points };
        let codes = QuantizedMatrix { grid, codes: self.codes };
        Rounded { codes, errors: self.errors, squared_outputs }
    }
}

/// In f64, sixteen sums side by side.
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut sums = [0.0; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for values in whole {
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
    let rest = rest.iter().map(|&value| f64::from(value) * f64::from(value));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

impl Affines {
    /// For rows that are not there.
    const NONE: Self = Self { scale: [1.0; ROWS], zero: [0.0; ROWS] };

    /// Sets those of a row.
    #[inline(always)]
    pub(crate) fn set(&mut self, lane: usize, affine: Affine) {
        self.scale[lane] = affine.scale;
        self.zero[lane] = f32::from(affine.zero);
    }
}
