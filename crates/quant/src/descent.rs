//! Codes and scales gone over again, each as good as it can be with all others as they are.
//!
//! Coordinate descent on the codes (CDQuant, 2406.17542) in turns with least squares for the scales:
//! the error `tr(E H E^T)` against the targets falls with every step.

use crate::gptq::block_length;
use crate::lanes::{Column, ROWS, add, gather, scatter};
use crate::solver::Solver;
use crate::stored::Stored;
use crate::target::Target;
use crate::work::{Affines, Chunk, Work};
use llmopt_linalg::Packed;
use llmopt_scheme::Tiles;
use llmopt_tensor::simd::{Kernel, dispatch};
use std::ops::Range;

impl Solver<'_> {
    /// Improves codes and scales so many times, for errors by column.
    pub(crate) fn descend(&self, work: &mut Work, rounds: usize) {
        let (tiles, target) = (work.tiles, work.target);
        // A tile that is wider than a block has its scale fitted on its own.
        let spans = tiles.tile_columns() > block_length(tiles);
        for _ in 0..rounds {
            if spans {
                self.refit_rows(work);
            }
            for first in (0..self.columns()).step_by(block_length(tiles)) {
                let columns = first..self.columns().min(first + block_length(tiles));
                let gram = self.gram_rows(&columns);
                let mut own = vec![0.0; columns.len() * columns.len()];
                self.gram_part(&columns, &mut own);
                work.each_chunk(|mut chunk| {
                    let gradient = self.products(&gram, chunk.errors);
                    let refits = !spans;
                    let (columns, gram) = (columns.clone(), &own[..]);
                    let chunk = &mut chunk;
                    dispatch(Block { tiles, target, refits, columns, gram, gradient, chunk });
                });
            }
        }
    }

    /// The best scales for the codes, where a tile is a whole row.
    fn refit_rows(&self, work: &mut Work) {
        let (columns, target) = (self.columns(), work.target);
        let mut sums = vec![[0.0f64; 2]; work.tiles.rows()];
        for first in (0..columns).step_by(REFIT) {
            let strip = first..columns.min(first + REFIT);
            let gram = self.gram_rows(&strip);
            work.each_chunk_with(&mut sums, |chunk, sums| {
                let levels = row_levels(&chunk, columns, target);
                let mut products = vec![0.0; levels.len() / columns * strip.len()];
                self.gemm.multiply(&levels, &gram, 0..strip.len(), &mut products);
                let products = products.chunks_exact(strip.len());
                let rows = levels.chunks_exact(columns).zip(chunk.errors.chunks_exact(columns));
                for ((sums, product), (levels, errors)) in sums.iter_mut().zip(products).zip(rows) {
                    sums[0] += dot(&errors[strip.clone()], product);
                    sums[1] += dot(&levels[strip.clone()], product);
                }
            });
        }
        work.each_chunk_with(&mut sums, |chunk, sums| {
            let (mut slope, mut curvature) = ([0.0; ROWS], [0.0; ROWS]);
            for (lane, sums) in sums.iter().enumerate() {
                (slope[lane], curvature[lane]) = (sums[0] as f32, sums[1] as f32);
            }
            let levels = row_levels(&chunk, columns, target);
            let affines = &mut chunk.scales[0];
            let change = refitted(target.stored, affines, &slope, &curvature);
            for (lane, left) in chunk.left.iter_mut().enumerate() {
                *left -= f64::from(gain(change[lane], slope[lane], curvature[lane]));
            }
            let rows = levels.chunks_exact(columns).zip(chunk.errors.chunks_exact_mut(columns));
            for ((levels, errors), change) in rows.zip(change) {
                for (error, level) in errors.iter_mut().zip(levels) {
                    *error -= change * level;
                }
            }
        });
    }

    /// Rows of the damped Gram matrix for products.
    fn gram_rows(&self, rows: &Range<usize>) -> Packed {
        self.gemm.filled(rows.len(), self.columns(), |band, out| {
            self.damped_rows(rows.start + band.start..rows.start + band.end, out);
        })
    }

    fn gram_part(&self, columns: &Range<usize>, out: &mut [f32]) {
        let mut row_of = vec![0.0; self.columns()];
        for (row, out) in columns.clone().zip(out.chunks_exact_mut(columns.len())) {
            self.damped_rows(row..row + 1, &mut row_of);
            out.copy_from_slice(&row_of[columns.clone()]);
        }
    }

    /// Rows times some columns of the Gram matrix, `[columns][rows]`.
    fn products(&self, gram: &Packed, rows: &[f32]) -> Vec<Column> {
        let width = gram.rows();
        let mut products = vec![0.0; rows.len() / self.columns() * width];
        self.gemm.multiply(rows, gram, 0..width, &mut products);
        let mut columns = vec![[0.0; ROWS]; width];
        gather(&products, width, 0..width, &mut columns);
        columns
    }
}

/// Rows of the Gram matrix that are multiplied with whole rows of codes.
const REFIT: usize = 512;

/// What the codes of whole rows stand for before they are scaled, zero points taken away.
fn row_levels(chunk: &Chunk<'_>, columns: usize, target: Target) -> Vec<f32> {
    let rows = chunk.codes.chunks_exact(columns).zip(&chunk.scales[0].zero);
    rows.flat_map(|(codes, zero)| codes.iter().map(move |&code| target.levels.value(code) - zero))
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// The columns of a block, for a chunk of rows.
struct Block<'a, 'b> {
    tiles: Tiles,
    target: Target,
    refits: bool,
    columns: Range<usize>,
    /// The damped Gram matrix of these columns, row-major.
    gram: &'a [f32],
    /// The errors times the Gram matrix: half of how fast their square falls as a weight grows.
    gradient: Vec<Column>,
    chunk: &'a mut Chunk<'b>,
}

impl Kernel for Block<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let row_length = self.tiles.columns();
        let width = self.columns.len();
        let mut errors = vec![[0.0; ROWS]; width];
        gather(self.chunk.errors, row_length, self.columns.clone(), &mut errors);
        let mut levels = vec![[0.0; ROWS]; width];
        self.gather_levels(&mut levels);
        let mut gains = [0.0; ROWS];
        if self.refits {
            let group = self.tiles.tile_columns();
            for first in (0..width).step_by(group) {
                self.refit_tile(first..first + group, &mut errors, &levels, &mut gains);
            }
        }
        for column in 0..width {
            let tile = (self.columns.start + column) / self.tiles.tile_columns();
            let curvature = self.gram[column * width + column];
            let (target, affines) = (self.target, self.chunk.scales[tile]);
            let gradient = &self.gradient[column];
            let change = stepped(target, &affines, gradient, curvature, &mut levels[column]);
            // In a second round, most columns are where they should be in every row.
            if change == [0.0; ROWS] {
                continue;
            }
            for lane in 0..ROWS {
                gains[lane] += gain(change[lane], gradient[lane], curvature);
            }
            add(&mut errors[column], -1.0, &change);
            let (_, later) = self.gradient.split_at_mut(column + 1);
            for (gradient, &factor) in
                later.iter_mut().zip(&self.gram[column * width + column + 1..])
            {
                add(gradient, -factor, &change);
            }
        }
        for (left, gain) in self.chunk.left.iter_mut().zip(gains) {
            *left -= f64::from(gain);
        }
        scatter(&errors, self.chunk.errors, row_length, self.columns.clone());
        self.scatter_levels(&levels);
    }
}

impl Block<'_, '_> {
    /// What codes stand for before they are scaled, zero points taken away.
    #[inline(always)]
    fn gather_levels(&self, levels: &mut [Column]) {
        let (row_length, group) = (self.tiles.columns(), self.tiles.tile_columns());
        for (lane, codes) in self.chunk.codes.chunks_exact(row_length).enumerate() {
            for (column, levels) in self.columns.clone().zip(levels.iter_mut()) {
                let zero = self.chunk.scales[column / group].zero[lane];
                levels[lane] = self.target.levels.value(codes[column]) - zero;
            }
        }
    }

    #[inline(always)]
    fn scatter_levels(&mut self, levels: &[Column]) {
        let (row_length, group) = (self.tiles.columns(), self.tiles.tile_columns());
        for (lane, codes) in self.chunk.codes.chunks_exact_mut(row_length).enumerate() {
            for (column, levels) in self.columns.clone().zip(levels) {
                let zero = self.chunk.scales[column / group].zero[lane];
                codes[column] = self.target.levels.code(levels[lane] + zero);
            }
        }
    }

    /// The best scale for the codes of a tile. Adds what it takes from the squared error to `gains`.
    #[inline(always)]
    fn refit_tile(
        &mut self,
        tile: Range<usize>,
        errors: &mut [Column],
        levels: &[Column],
        gains: &mut Column,
    ) {
        let width = self.columns.len();
        let mut products = vec![[0.0; ROWS]; width];
        for column in tile.clone() {
            for (product, &factor) in products.iter_mut().zip(&self.gram[column * width..]) {
                add(product, factor, &levels[column]);
            }
        }
        let (mut slope, mut curvature) = ([0.0; ROWS], [0.0; ROWS]);
        for column in tile.clone() {
            for lane in 0..ROWS {
                slope[lane] += self.gradient[column][lane] * levels[column][lane];
                curvature[lane] += products[column][lane] * levels[column][lane];
            }
        }
        let index = (self.columns.start + tile.start) / self.tiles.tile_columns();
        let change =
            refitted(self.target.stored, &mut self.chunk.scales[index], &slope, &curvature);
        for lane in 0..ROWS {
            gains[lane] += gain(change[lane], slope[lane], curvature[lane]);
        }
        for column in tile {
            subtract_product(&mut errors[column], &change, &levels[column]);
        }
        for (gradient, product) in self.gradient.iter_mut().zip(&products) {
            subtract_product(gradient, &change, product);
        }
    }
}

/// Moves a column's levels to where the error is least. Returns what that adds to the weights.
#[inline(always)]
fn stepped(
    target: Target,
    affines: &Affines,
    gradient: &Column,
    curvature: f32,
    levels: &mut Column,
) -> Column {
    let mut change = [0.0; ROWS];
    for lane in 0..ROWS {
        let (scale, zero) = (affines.scale[lane], affines.zero[lane]);
        let best = levels[lane] + gradient[lane] / curvature / scale;
        let level = target.levels.nearest(best + zero) - zero;
        change[lane] = scale * (level - levels[lane]);
        levels[lane] = level;
    }
    change
}

/// Moves scales to where the error is least, as far as they can be stored, given its slope and
/// curvature along the scale. Returns what that adds to them.
#[inline(always)]
fn refitted(stored: Stored, affines: &mut Affines, slope: &Column, curvature: &Column) -> Column {
    let mut change = [0.0; ROWS];
    for lane in 0..ROWS {
        let old = affines.scale[lane];
        let step = slope[lane] / curvature[lane];
        let new = if step.is_finite() { stored.rounded(old + step) } else { old };
        // Scales have limits, and rounding may take one past the least error.
        if gain(new - old, slope[lane], curvature[lane]) > 0.0 {
            change[lane] = new - old;
            affines.scale[lane] = new;
        }
    }
    change
}

/// What a change along a slope takes from the squared error: the error `e` less `change * d` leaves
/// `e H e^T - change * (2 * slope - change * curvature)`, with `slope = e H d^T` and `curvature = d H d^T`.
#[inline(always)]
fn gain(change: f32, slope: f32, curvature: f32) -> f32 {
    change * (2.0 * slope - change * curvature)
}

/// `sums -= factors * terms`, row by row.
#[inline(always)]
fn subtract_product(sums: &mut Column, factors: &Column, terms: &Column) {
    for lane in 0..ROWS {
        sums[lane] -= factors[lane] * terms[lane];
    }
}
