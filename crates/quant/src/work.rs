//! A matrix on its way to codes.

use crate::lanes::{Column, ROWS};
use crate::target::{Affine, Target};
use llmopt_scheme::{Grid, QuantizedMatrix, Tiles};
use rayon::prelude::*;

/// A matrix whose rows are quantized in chunks, side by side.
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
}

/// A matrix that was rounded.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounded {
    /// Its codes.
    pub codes: QuantizedMatrix,
    /// What the codes were to come close to, less what they stand for: `[rows, columns]`. Where a
    /// method makes up for inputs that have changed, that is not the weights.
    pub errors: Vec<f32>,
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
}

impl Work {
    /// Without any codes, errors are `targets`. Tiles have one row.
    pub(crate) fn new(target: Target, tiles: Tiles, targets: Vec<f32>) -> Self {
        let chunks = tiles.rows().div_ceil(ROWS);
        let scales = vec![Affines::NONE; chunks * tiles.across()];
        Self { target, tiles, codes: vec![0; targets.len()], errors: targets, scales }
    }

    /// The memory that it holds.
    pub(crate) fn bytes(tiles: Tiles) -> usize {
        let chunks = tiles.rows().div_ceil(ROWS);
        let scales = chunks * tiles.across() * size_of::<Affines>();
        tiles.rows() * tiles.columns() * (size_of::<f32>() + size_of::<i8>()) + scales
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
        let chunks = errors.zip(codes).zip(scales).zip(each.par_chunks_mut(ROWS)).with_max_len(1);
        chunks.for_each(|(((errors, codes), scales), each)| {
            work(Chunk { errors, codes, scales }, each);
        });
    }

    /// The codes, on their grid, and the errors that they leave.
    pub(crate) fn finished(self) -> Rounded {
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
        Rounded { codes: QuantizedMatrix { grid, codes: self.codes }, errors: self.errors }
    }
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
