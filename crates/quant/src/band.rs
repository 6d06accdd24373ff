//! The walk over the tiles of a band: measure, fit, encode.

use crate::QuantError;
use crate::extent::Extent;
use crate::stored::Stored;
use llmopt_scheme::{Grid, Levels, Numeric, QuantizedMatrix, Scheme, Tiles};
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

/// What a scale is fitted to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) levels: Levels,
    pub(crate) stored: Stored,
    pub(crate) symmetric: bool,
}

/// A fitted tile: its scale as stored, and its zero point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Affine {
    pub(crate) scale: f32,
    pub(crate) zero: i8,
}

/// The weights of one tile, where they lie in the band.
pub(crate) struct Tile<'a> {
    weights: &'a [f32],
    row_length: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<'a> Tile<'a> {
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

    fn first_not_finite(&self) -> QuantError {
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
    let stored = Stored::new(scale_dtype)?;
    if scheme.weights == Numeric::E4m3 && !scheme.symmetric {
        return Err(QuantError::FloatZeroPoint);
    }
    let tiles = Tiles::new(scheme.granularity, weights.nrows(), weights.ncols())?;
    let weights = weights.as_standard_layout();
    let weights = weights.as_slice().expect("a matrix in standard layout is one slice");
    let levels = Levels::new(scheme.weights);
    let mut codes = vec![0; weights.len()];
    let mut scales = vec![0.0; tiles.count()];
    let mut zero_points = vec![0; if scheme.symmetric { 0 } else { tiles.count() }];
    dispatch(Band {
        weights,
        tiles,
        target: Target { levels, stored, symmetric: scheme.symmetric },
        fit,
        codes: &mut codes,
        scales: &mut scales,
        zero_points: &mut zero_points,
    })?;
    Ok(QuantizedMatrix { grid: Grid { levels, tiles, scales, zero_points }, codes })
}

struct Band<'a, F> {
    weights: &'a [f32],
    tiles: Tiles,
    target: Target,
    fit: F,
    codes: &'a mut [i8],
    scales: &'a mut [f32],
    zero_points: &'a mut [i8],
}

impl<F: Fit> Kernel for Band<'_, F> {
    type Output = Result<(), QuantError>;

    #[inline(always)]
    fn run(mut self) -> Result<(), QuantError> {
        for down in 0..self.tiles.down() {
            for across in 0..self.tiles.across() {
                self.quantize_tile(down, across)?;
            }
        }
        Ok(())
    }
}

impl<F: Fit> Band<'_, F> {
    #[inline(always)]
    fn quantize_tile(&mut self, down: usize, across: usize) -> Result<(), QuantError> {
        let tile = Tile {
            weights: self.weights,
            row_length: self.tiles.columns(),
            rows: self.tiles.row_range(down),
            columns: self.tiles.column_range(across),
        };
        let Some(extent) = Extent::of(tile.segments()) else {
            return Err(tile.first_not_finite());
        };
        let affine = match extent.magnitude() {
            0.0 => Affine { scale: self.target.stored.epsilon, zero: 0 },
            _ => self.fit.fit(&tile, extent, self.target),
        };
        let index = down * self.tiles.across() + across;
        self.scales[index] = affine.scale;
        if let Some(zero) = self.zero_points.get_mut(index) {
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
            let codes = &mut self.codes[first..first + segment.len()];
            for (code, &weight) in codes.iter_mut().zip(segment) {
                *code = levels.code(levels.nearest(weight / affine.scale + zero));
            }
        }
    }
}
