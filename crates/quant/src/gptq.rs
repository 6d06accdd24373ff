//! Columns rounded one after another, each with what the ones before ask of it.
//!
//! GPTQ (2210.17323) in the form of QuIP's LDLQ (2307.13304, theorem 6), which needs no inverse: with
//! `L L^T` the Gram matrix, columns in reverse order, and `V` the factor `L` over its diagonal, column
//! `k` is rounded after `sum_{j > k} e_j V[j, k]` was added to it, where `e_j` are the errors of the
//! columns rounded before. That is its best value if the columns still to come were not rounded.

use crate::QuantError;
use crate::band::{Tile, fitted};
use crate::extent::Extent;
use crate::lanes::{Column, ROWS, add, gather, scatter};
use crate::rounding::Rounding;
use crate::settings::{Correction, Settings};
use crate::solver::Solver;
use crate::target::{Affine, Target};
use crate::weighted::WeightedFit;
use crate::work::{Affines, Chunk, Rounded, Work};
use llmopt_linalg::{Gemm, Packed};
use llmopt_scheme::{Granularity, QuantizedMatrix, Scheme, Tiles};
use llmopt_tensor::Dtype;
use llmopt_tensor::simd::{Kernel, dispatch};
use std::ops::Range;

impl Solver<'_> {
    /// Quantizes `weights`, `[rows, columns]`, on scales as `scale_dtype` stores them.
    ///
    /// Allocates its result and [`Solver::quantize_bytes`].
    ///
    /// # Errors
    /// [`QuantError`] if a weight is not finite, or if the scheme does not fit the matrix or asks for
    /// scales that rows share.
    pub fn quantize(
        &self,
        weights: &[f32],
        scheme: &Scheme,
        scale_dtype: Dtype,
    ) -> Result<QuantizedMatrix, QuantError> {
        Ok(self.rounded(weights, scheme, scale_dtype)?.codes)
    }

    /// As [`Solver::quantize`], with the errors that rounding leaves.
    ///
    /// # Errors
    /// As [`Solver::quantize`].
    pub fn rounded(
        &self,
        weights: &[f32],
        scheme: &Scheme,
        scale_dtype: Dtype,
    ) -> Result<Rounded, QuantError> {
        let Settings { correction, descent, .. } = self.settings;
        Ok(self.rounding(correction, weights, scheme, scale_dtype)?.descended(descent).finished())
    }

    /// Rounds all columns of targets that `correction` makes of `weights`, and leaves the rest to its
    /// caller: of the settings that the solver was prepared for, only those about the order of columns
    /// and damping matter.
    ///
    /// # Errors
    /// As [`Solver::quantize`].
    pub fn rounding(
        &self,
        correction: Correction,
        weights: &[f32],
        scheme: &Scheme,
        scale_dtype: Dtype,
    ) -> Result<Rounding<'_>, QuantError> {
        let target = Target::new(scheme, scale_dtype)?;
        let tiles = self.tiles(weights.len(), scheme)?;
        check_finite(weights, self.columns())?;
        let mut work = Work::new(target, tiles, self.targets(weights, correction));
        self.round(&mut work);
        Ok(Rounding { solver: self, work })
    }

    /// The most memory that [`Solver::quantize`] takes on so many threads. Its result is part of it.
    pub fn quantize_bytes(
        gemm: Gemm,
        rows: usize,
        columns: usize,
        scheme: &Scheme,
        threads: usize,
    ) -> u64 {
        let Ok(tiles) = Tiles::new(scheme.granularity, rows, columns) else { return 0 };
        let gemm = gemm.in_f32();
        let block = block_length(tiles).min(columns);
        let panels = gemm.filled_bytes(block, columns, threads) + block * block * 4;
        let copies = ROWS * (columns + block) + 3 * columns;
        let scratch = gemm.scratch_bytes(ROWS, columns) + 4 * (copies + 6 * block * ROWS);
        let rounding = panels + threads * scratch;
        // Threads keep what the library of products in f64 took.
        let correcting = Self::targets_bytes(gemm, rows, columns, threads);
        (Work::bytes(tiles) + rounding + correcting) as u64
    }

    fn tiles(&self, weights: usize, scheme: &Scheme) -> Result<Tiles, QuantError> {
        if matches!(scheme.granularity, Granularity::Block { .. }) {
            return Err(QuantError::SharedRows);
        }
        let columns = self.columns();
        if columns == 0 || !weights.is_multiple_of(columns) {
            return Err(QuantError::Importance { found: columns, expected: weights });
        }
        Ok(Tiles::new(scheme.granularity, weights / columns, columns)?)
    }

    /// Rounds all columns. Afterwards errors are those of the codes, by column.
    fn round(&self, work: &mut Work) {
        let (columns, tiles, target) = (self.columns(), work.tiles, work.target);
        // A tile that is a whole row is entered before anything is rounded.
        let fits_first = tiles.across() == 1 || !self.keeps_together(tiles.tile_columns());
        if fits_first {
            work.each_chunk(|chunk| self.fit_rows(chunk, tiles, target));
        }
        let mut end = columns;
        while end > 0 {
            let places = end.saturating_sub(block_length(tiles))..end;
            let feedback = self.feedback(&places);
            let mut unit = vec![0.0; places.len() * places.len()];
            self.factor.panel_over_diagonal(places.clone(), places.clone(), &mut unit);
            let costs = self.factor.squared_diagonal(places.clone());
            work.each_chunk(|chunk| {
                let values = self.asked(&feedback, &places, chunk.errors);
                let (places, unit, costs) = (places.clone(), &unit[..], &costs[..]);
                dispatch(Block {
                    solver: self,
                    tiles,
                    target,
                    fits_first,
                    places,
                    unit,
                    costs,
                    values,
                    chunk,
                });
            });
            end = places.start;
        }
        work.each_chunk(|chunk| self.reorder(chunk.errors));
    }

    /// Whether the columns of a tile follow one another in the solver's order.
    fn keeps_together(&self, columns: usize) -> bool {
        !self.settings.act_order || self.settings.group == Some(columns)
    }

    /// `V[after, places]`, transposed, for the product with the errors of the places after.
    fn feedback(&self, places: &Range<usize>) -> Packed {
        let after = places.end..self.columns();
        self.gemm.filled(places.len(), after.len(), |band, out| {
            let band = places.start + band.start..places.start + band.end;
            let mut panel = vec![0.0; out.len()];
            self.factor.panel_over_diagonal(after.clone(), band.clone(), &mut panel);
            for (j, row) in panel.chunks_exact(band.len()).enumerate() {
                for (k, &value) in row.iter().enumerate() {
                    out[k * after.len() + j] = value;
                }
            }
        })
    }

    /// What the errors after `places` ask of these places, `[places][rows]`.
    fn asked(&self, feedback: &Packed, places: &Range<usize>, errors: &[f32]) -> Vec<Column> {
        let (columns, width) = (self.columns(), places.len());
        let mut values = vec![[0.0; ROWS]; width];
        if places.end == columns {
            return values;
        }
        let rows = errors.len() / columns;
        let mut after = Vec::with_capacity(rows * (columns - places.end));
        for row in errors.chunks_exact(columns) {
            after.extend_from_slice(&row[places.end..]);
        }
        let mut products = vec![0.0; rows * width];
        self.gemm.multiply(&after, feedback, 0..width, &mut products);
        gather(&products, width, 0..width, &mut values);
        values
    }

    /// Chooses the scales of all tiles, before any column is rounded.
    fn fit_rows(&self, chunk: Chunk<'_>, tiles: Tiles, target: Target) {
        let columns = self.columns();
        let mut fit = WeightedFit::new(&self.importance);
        let mut row = vec![0.0; columns];
        for (lane, errors) in chunk.errors.chunks_exact(columns).enumerate() {
            for (&value, &column) in errors.iter().zip(&self.order) {
                row[column] = value;
            }
            for (across, affines) in chunk.scales.iter_mut().enumerate() {
                let tile = Tile::of_row(&row, tiles.column_range(across));
                affines.set(lane, fitted_tile(&mut fit, &tile, target));
            }
        }
    }

    /// Brings rows from the solver's order to that of the columns.
    fn reorder(&self, rows: &mut [f32]) {
        let mut ordered = vec![0.0; self.columns()];
        for row in rows.chunks_exact_mut(self.columns()) {
            for (&value, &column) in row.iter().zip(&self.order) {
                ordered[column] = value;
            }
            row.copy_from_slice(&ordered);
        }
    }
}

/// Columns that wait for the errors of the columns before until all of these are rounded: whole
/// groups, so that a grid is fitted to columns that miss nothing.
pub(crate) fn block_length(tiles: Tiles) -> usize {
    match tiles.tile_columns() {
        _ if tiles.across() <= 1 => BLOCK,
        group @ ..=BLOCK => BLOCK / group * group,
        group => group,
    }
}

const BLOCK: usize = 128;

fn check_finite(weights: &[f32], columns: usize) -> Result<(), QuantError> {
    let each = weights.iter().enumerate();
    match each.into_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((index, &value)) => {
            Err(QuantError::NotFinite { row: index / columns, column: index % columns, value })
        }
    }
}

#[inline(always)]
fn fitted_tile(fit: &mut WeightedFit<'_>, tile: &Tile<'_>, target: Target) -> Affine {
    match Extent::of(tile.segments()) {
        Some(extent) => fitted(fit, tile, extent, target),
        // Finite weights that feedback took beyond f32. Nothing would fit.
        None => Affine { scale: target.stored.epsilon, zero: 0 },
    }
}

/// The places of a block, for a chunk of rows.
struct Block<'a> {
    solver: &'a Solver<'a>,
    tiles: Tiles,
    target: Target,
    fits_first: bool,
    places: Range<usize>,
    /// `V[places, places]`, row-major.
    unit: &'a [f32],
    /// What a squared distance between value and code costs, by place: `L[k, k]^2`.
    costs: &'a [f32],
    /// What the places after ask for.
    values: Vec<Column>,
    chunk: Chunk<'a>,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let (columns, width) = (self.solver.columns(), self.places.len());
        let mut targets = vec![[0.0; ROWS]; width];
        gather(self.chunk.errors, columns, self.places.clone(), &mut targets);
        for (value, target) in self.values.iter_mut().zip(&targets) {
            add(value, 1.0, target);
        }
        let mut fit = WeightedFit::new(&self.solver.importance);
        let group = self.tiles.tile_columns();
        let mut codes = vec![[0; ROWS]; width];
        let mut left = [0.0; ROWS];
        for place in (0..width).rev() {
            let column = self.solver.order[self.places.start + place];
            if !self.fits_first && (width - 1 - place).is_multiple_of(group) {
                self.fit_tile(&mut fit, &targets, place + 1 - group..place + 1, column / group);
            }
            let affines = &self.chunk.scales[column / group];
            let value = &self.values[place];
            let error = rounded(self.target, affines, value, &targets[place], &mut codes[place]);
            add_costs(&mut left, self.costs[place], value, &targets[place], &error);
            pass_on(&mut self.values[..place], &self.unit[place * width..], &error);
            targets[place] = error;
        }
        for (sum, left) in self.chunk.left.iter_mut().zip(left) {
            *sum += f64::from(left);
        }
        scatter(&targets, self.chunk.errors, columns, self.places.clone());
        let order = &self.solver.order[self.places.clone()];
        for (lane, row) in self.chunk.codes.chunks_exact_mut(columns).enumerate() {
            for (codes, &column) in codes.iter().zip(order) {
                row[column] = codes[lane];
            }
        }
    }
}

impl Block<'_> {
    /// Chooses the scales of the tile that has these places, before the last of them is rounded, for
    /// the values that its columns would have if they were not rounded.
    #[inline(always)]
    fn fit_tile(
        &mut self,
        fit: &mut WeightedFit<'_>,
        targets: &[Column],
        places: Range<usize>,
        across: usize,
    ) {
        let width = self.places.len();
        let mut values = self.values[places.clone()].to_vec();
        for place in (0..places.len()).rev() {
            let at = places.start + place;
            let mut error = targets[at];
            add(&mut error, -1.0, &values[place]);
            pass_on(&mut values[..place], &self.unit[at * width + places.start..], &error);
        }
        let order = &self.solver.order[self.places.start + places.start..];
        let columns = self.solver.columns();
        let mut row = vec![0.0; columns];
        for lane in 0..self.chunk.errors.len() / columns {
            for (value, &column) in values.iter().zip(order) {
                row[column] = value[lane];
            }
            let tile = Tile::of_row(&row, self.tiles.column_range(across));
            self.chunk.scales[across].set(lane, fitted_tile(fit, &tile, self.target));
        }
    }
}

/// Rounds a column of values. Returns what is left of the targets.
#[inline(always)]
fn rounded(
    target: Target,
    affines: &Affines,
    values: &Column,
    targets: &Column,
    codes: &mut [i8; ROWS],
) -> Column {
    let mut errors = [0.0; ROWS];
    for lane in 0..ROWS {
        let (scale, zero) = (affines.scale[lane], affines.zero[lane]);
        let level = target.levels.nearest(values[lane] / scale + zero);
        codes[lane] = target.levels.code(level);
        errors[lane] = targets[lane] - scale * (level - zero);
    }
    errors
}

/// Adds what rounding a column costs: `e H e^T` is the sum of `(e L)[k]^2`, and `(e L)[k]` is `L[k, k]`
/// times the distance of the value from its code.
#[inline(always)]
fn add_costs(sums: &mut Column, cost: f32, values: &Column, targets: &Column, errors: &Column) {
    for lane in 0..ROWS {
        let distance = (values[lane] - targets[lane]) + errors[lane];
        sums[lane] += cost * (distance * distance);
    }
}

/// Adds what an error asks of each of the places before, by its row of the unit factor.
#[inline(always)]
fn pass_on(values: &mut [Column], unit: &[f32], error: &Column) {
    for (value, &factor) in values.iter_mut().zip(unit) {
        add(value, factor, error);
    }
}
