//! The walk over the tiles of a band: measure, fit, encode.

use crate::QuantError;
use crate::extent::Extent;
use crate::target::{Affine, Target};
use llmopt_scheme::{Grid, QuantizedMatrix, Scheme, Tiles};
use llmopt_tensor::Dtype;
use llmopt_tensor::simd::{Kernel, dispatch};
use ndarray::ArrayView2;
use std::ops::Range;

/// Chooses the scale and the zero point of one tile.
pub(crate) trait Fit {
    /// `extent` is that of the tile, and not all zero.
    ///
    /// Implementations are `#[inline(always)]`, with all that they call in their loops.
    fn fit(&mut self, tile: &Tile<'_>, extent: Extent, target: Target) -> Affine;
}

/// The weights of one tile, where they lie in the band.
pub(crate) struct Tile<'a> {
    weights: &'a [f32],
    row_length: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<'a> Tile<'a> {
    /// Columns `columns` of a row.
    pub(crate) fn of_row(row: &'a [f32], columns: Range<usize>) -> Self {
        Self { weights: row, row_length: row.len(), rows: 0..1, columns }
    }

    /// The columns it covers.
    pub(crate) fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// The parts of rows that make up the tile.
    #[inline(always)]
    pub(crate) fn segments(&self) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let (weights, columns, row_length) = (self.weights, self.columns.clone(), self.row_length);
        self.rows.clone().map(move |row| {
            &weights[row * row_length + columns.start..row * row_length + columns.end]
        })
    }

    /// Its weights.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// The first weight that is no number.
    pub(crate) fn first_not_finite(&self) -> QuantError {
        let positions =
            self.rows.clone().flat_map(|row| self.columns.clone().map(move |column| (row, column)));
        positions
            .map(|(row, column)| (row, column, self.weights[row * self.row_length + column]))
            .find(|(_, _, value)| !value.is_finite())
            .map(|(row, column, value)| QuantError::NotFinite { row, column, value })
            .expect("the extent of the tile has just shown such a weight")
    }
}

/// Quantizes a band with the scales that `fit` chooses.
pub(crate) fn quantized<F: Fit>(
    weights: ArrayView2<'_, f32>,
    scheme: &Scheme,
    scale_dtype: Dtype,
    fit: F,
) -> Result<QuantizedMatrix, QuantError> {
    let target = Target::new(scheme, scale_dtype)?;
    let tiles = Tiles::new(scheme.granularity, weights.nrows(), weights.ncols())?;
    let weights = weights.as_standard_layout();
    let weights = weights.as_slice().expect("a matrix in standard layout is one slice");
    dispatch(Band::new(weights, tiles, target, fit))
}

/// What `fit` chooses for a tile, or what any does where all weights are zero.
#[inline(always)]
pub(crate) fn fitted<F: Fit>(
    fit: &mut F,
    tile: &Tile<'_>,
    extent: Extent,
    target: Target,
) -> Affine {
    match extent.magnitude() {
        0.0 => Affine { scale: target.stored.epsilon, zero: 0 },
        _ => fit.fit(tile, extent, target),
    }
}

struct Band<'a, F> {
    weights: &'a [f32],
    target: Target,
    fit: F,
    result: QuantizedMatrix,
}

impl<F: Fit> Kernel for Band<'_, F> {
    type Output = Result<QuantizedMatrix, QuantError>;

    #[inline(always)]
    fn run(mut self) -> Self::Output {
        let tiles = self.result.grid.tiles;
        for down in 0..tiles.down() {
            for across in 0..tiles.across() {
                self.quantize_tile(tiles, down, across)?;
            }
        }
        Ok(self.result)
    }
}

impl<'a, F: Fit> Band<'a, F> {
    fn new(weights: &'a [f32], tiles: Tiles, target: Target, fit: F) -> Self {
        let scales = vec![0.0; tiles.count()];
        let zero_points = vec![0; if target.symmetric { 0 } else { tiles.count() }];
        let grid = Grid { levels: target.levels, tiles, scales, zero_points };
        let result = QuantizedMatrix { grid, codes: vec![0; weights.len()] };
        Self { weights, target, fit, result }
    }

    #[inline(always)]
    fn quantize_tile(
        &mut self,
        tiles: Tiles,
        down: usize,
        across: usize,
    ) -> Result<(), QuantError> {
        let tile = Tile {
            weights: self.weights,
            row_length: tiles.columns(),
            rows: tiles.row_range(down),
            columns: tiles.column_range(across),
        };
        let Some(extent) = Extent::of(tile.segments()) else {
            return Err(tile.first_not_finite());
        };
        let affine = fitted(&mut self.fit, &tile, extent, self.target);
        let index = down * tiles.across() + across;
        self.result.grid.scales[index] = affine.scale;
        if let Some(zero) = self.result.grid.zero_points.get_mut(index) {
            *zero = affine.zero;
        }
        self.encode(&tile, affine);
        Ok(())
    }

    #[inline(always)]
    fn encode(&mut self, tile: &Tile<'_>, affine: Affine) {
        let (levels, zero) = (self.target.levels, f32::from(affine.zero));
        for (row, segment) in tile.rows.clone().zip(tile.segments()) {
            let first = row * tile.row_length + tile.columns.start;
            let codes = &mut self.result.codes[first..first + segment.len()];
            for (code, &weight) in codes.iter_mut().zip(segment) {
                *code = levels.code(levels.nearest(weight / affine.scale + zero));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nearest::Nearest;
    use crate::search::ScaleSearch;
    use llmopt_scheme::{Activations, Granularity, Numeric};

    const ROWS: usize = 9;
    const COLUMNS: usize = 1100;

    /// As compiled for this machine, and as compiled for the oldest of its architecture.
    fn check<F: Fit>(scheme: &Scheme, fit: impl Fn() -> F) {
        let weight = |i: usize| {
            let x = ((i * 104_729) % 2003) as f32 / 1001.0 - 1.0;
            0.05 * x * x * x
        };
        let weights: Vec<f32> = (0..ROWS * COLUMNS).map(weight).collect();
        let target = Target::new(scheme, Dtype::BF16).expect("a scheme there is");
        let tiles =
            Tiles::new(scheme.granularity, ROWS, COLUMNS).expect("groups that divide a row");
        let band = || Band::new(&weights, tiles, target, fit());
        assert_eq!(dispatch(band()), band().run(), "{scheme}");
    }

    #[test]
    fn every_instruction_set_computes_the_same_bits() {
        let block = Granularity::Block { rows: 4, columns: 128 };
        for granularity in [Granularity::Channel, Granularity::Group(50), block] {
            for (weights, symmetric) in [
                (Numeric::Int { bits: 8 }, true),
                (Numeric::Int { bits: 8 }, false),
                (Numeric::Int { bits: 4 }, true),
                (Numeric::Int { bits: 3 }, false),
                (Numeric::E4m3, true),
            ] {
                let activations = Activations::None;
                let scheme = Scheme { weights, granularity, symmetric, activations };
                check(&scheme, || Nearest);
                check(&scheme, ScaleSearch::default);
            }
        }
    }
}
