//! Sums over the tokens that a site has seen.

use llmopt_forward::Matrix;
use llmopt_linalg::{Cross, Gemm, Symmetric};
use llmopt_tensor::simd::{Kernel, dispatch};
use rayon::prelude::*;

/// Which sums are asked for. Second moments always are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// `sum x x^T`.
    pub gram: bool,
    /// `sum (x_before - x) x^T`, against the stream of the stage before; also of what outputs are
    /// added to, where they are.
    pub cross: bool,
    /// The greatest magnitude of each input feature.
    pub maxima: bool,
    /// The sum of fourth powers of each input feature.
    pub fourths: bool,
}

/// The sizes of what a site shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Input features.
    pub columns: usize,
    /// Width of the stream that outputs are added to, where they are.
    pub residual: Option<usize>,
}

/// A batch of tokens in the stream of the stage before: inputs, and what outputs are added to in the
/// two streams.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// Inputs, `[tokens, columns]`.
    pub inputs: &'a Matrix,
    /// What outputs are added to: before, and now, `[tokens, residual]`.
    pub residual: Option<(&'a Matrix, &'a Matrix)>,
}

/// Sums over tokens of what stood at a site. Tokens are taken in the order in which they come, in
/// pieces of constant size, so that neither threads nor a budget show in a bit of it.
#[derive(Clone)]
pub struct Observation {
    pub(crate) tokens: u64,
    pub(crate) squares: Vec<f64>,
    pub(crate) gram: Option<Symmetric>,
    cross: Option<Cross>,
    residual: Option<Cross>,
    maxima: Option<Vec<f32>>,
    fourths: Option<Vec<f64>>,
}

impl Needs {
    /// Whether one of the two asks.
    pub fn union(self, other: Self) -> Self {
        Self {
            gram: self.gram || other.gram,
            cross: self.cross || other.cross,
            maxima: self.maxima || other.maxima,
            fourths: self.fourths || other.fourths,
        }
    }
}

impl Observation {
    /// Nothing seen yet.
    pub fn new(extent: Extent, needs: Needs) -> Self {
        let Extent { columns, residual } = extent;
        let width = residual.filter(|_| needs.cross);
        Self {
            tokens: 0,
            squares: vec![0.0; columns],
            gram: needs.gram.then(|| Symmetric::zeros(columns)),
            cross: needs.cross.then(|| Cross::zeros(columns)),
            residual: width.map(|width| Cross::rectangle(width, columns)),
            maxima: needs.maxima.then(|| vec![0.0; columns]),
            fourths: needs.fourths.then(|| vec![0.0; columns]),
        }
    }

    /// The memory that one takes.
    pub fn bytes(extent: Extent, needs: Needs) -> u64 {
        let Extent { columns, residual } = extent;
        let gram = if needs.gram { Symmetric::bytes(columns) } else { 0 };
        let rows = columns + residual.unwrap_or(0);
        let cross = if needs.cross { Cross::bytes(rows, columns) } else { 0 };
        let maxima = if needs.maxima { columns * size_of::<f32>() } else { 0 };
        let fourths = if needs.fourths { columns * size_of::<f64>() } else { 0 };
        (columns * size_of::<f64>() + maxima + fourths) as u64 + gram + cross
    }

    /// The memory that adding so many tokens takes meanwhile.
    pub fn adding_bytes(gemm: Gemm, extent: Extent, tokens: usize, threads: usize) -> u64 {
        let Extent { columns, residual } = extent;
        let rows = columns.max(residual.unwrap_or(0));
        let differences = tokens * rows * size_of::<f32>();
        let gram = Symmetric::add_products_bytes(gemm, columns, threads);
        (differences + gram.max(Cross::add_products_bytes(gemm, rows, columns, threads))) as u64
    }

    /// Adds tokens, `[tokens, columns]`.
    pub fn add(&mut self, gemm: Gemm, seen: &Matrix) {
        self.tokens += seen.rows() as u64;
        add_squares(&mut self.squares, seen.values());
        if let Some(gram) = &mut self.gram {
            gram.add_products(gemm, seen.values());
        }
        if let Some(maxima) = &mut self.maxima {
            let rows = seen.values().chunks_exact(maxima.len().max(1));
            rows.for_each(|row| raise(maxima, row));
        }
        if let Some(fourths) = &mut self.fourths {
            for row in seen.values().chunks_exact(fourths.len().max(1)) {
                for (sum, &x) in fourths.iter_mut().zip(row) {
                    let square = f64::from(x) * f64::from(x);
                    *sum += square * square;
                }
            }
        }
    }

    /// Adds tokens with what the same tokens were in the stream of the stage before.
    pub fn add_beside(&mut self, gemm: Gemm, before: Before<'_>, seen: &Matrix) {
        self.add(gemm, seen);
        if let Some(cross) = &mut self.cross {
            cross.add_products(gemm, &differences(before.inputs, seen), seen.values());
        }
        if let (Some(sums), Some((before, now))) = (&mut self.residual, before.residual) {
            sums.add_products(gemm, &differences(before, now), seen.values());
        }
    }

    /// Adds what another observation of the same needs has seen.
    pub fn merge(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.squares.iter_mut().zip(&other.squares).for_each(|(sum, x)| *sum += x);
        if let (Some(gram), Some(other)) = (&mut self.gram, &other.gram) {
            gram.add(other);
        }
        if let (Some(cross), Some(other)) = (&mut self.cross, &other.cross) {
            cross.add(other);
        }
        if let (Some(residual), Some(other)) = (&mut self.residual, &other.residual) {
            residual.add(other);
        }
        if let (Some(maxima), Some(other)) = (&mut self.maxima, &other.maxima) {
            raise(maxima, other);
        }
        if let (Some(fourths), Some(other)) = (&mut self.fourths, &other.fourths) {
            fourths.iter_mut().zip(other).for_each(|(sum, x)| *sum += x);
        }
    }

    /// What the same tokens show once every input feature, of this stream and of the one before, is
    /// divided by its scale, a positive number. What outputs are added to stays as it is. Where all
    /// scales are powers of two that is what observing the divided inputs gives, to the last bit.
    #[must_use]
    pub fn divided_by(mut self, scales: &[f32]) -> Self {
        assert_eq!(scales.len(), self.squares.len());
        for (sum, &scale) in self.squares.iter_mut().zip(scales) {
            *sum /= f64::from(scale) * f64::from(scale);
        }
        if let Some(gram) = &mut self.gram {
            gram.divide_axes(scales);
        }
        if let Some(cross) = &mut self.cross {
            cross.divide_rows(scales);
            cross.divide_columns(scales);
        }
        if let Some(residual) = &mut self.residual {
            residual.divide_columns(scales);
        }
        if let Some(maxima) = &mut self.maxima {
            maxima.iter_mut().zip(scales).for_each(|(most, scale)| *most /= scale);
        }
        if let Some(fourths) = &mut self.fourths {
            for (sum, &scale) in fourths.iter_mut().zip(scales) {
                let square = f64::from(scale) * f64::from(scale);
                *sum /= square * square;
            }
        }
        self
    }

    /// How many tokens were seen.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Sum of squares of each input feature.
    pub fn squares(&self) -> &[f64] {
        &self.squares
    }

    /// `sum x x^T`, if it was asked for.
    pub fn gram(&self) -> Option<&Symmetric> {
        self.gram.as_ref()
    }

    /// `sum (x_before - x) x^T`, if it was asked for.
    pub fn cross(&self) -> Option<&Cross> {
        self.cross.as_ref()
    }

    /// `sum (s_before - s) x^T`, `[residual, columns]`, where outputs are added to `s` and it was asked
    /// for.
    pub fn residual(&self) -> Option<&Cross> {
        self.residual.as_ref()
    }

    /// The greatest magnitude of each input feature, if it was asked for.
    pub fn maxima(&self) -> Option<&[f32]> {
        self.maxima.as_deref()
    }

    /// The sum of fourth powers of each input feature, if it was asked for.
    pub fn fourths(&self) -> Option<&[f64]> {
        self.fourths.as_deref()
    }
}

/// Adds the square of each feature of each row.
fn add_squares(sums: &mut [f64], rows: &[f32]) {
    let columns = sums.len();
    sums.par_chunks_mut(BAND).enumerate().for_each(|(band, sums)| {
        dispatch(AddSquares { columns, first: band * BAND, sums, rows });
    });
}

/// Features of which a thread adds squares at a time.
const BAND: usize = 64;

/// Adds the squares of neighbouring features, of which the first is named.
struct AddSquares<'a> {
    columns: usize,
    first: usize,
    sums: &'a mut [f64],
    rows: &'a [f32],
}

impl Kernel for AddSquares<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for row in self.rows.chunks_exact(self.columns) {
            for (sum, &x) in self.sums.iter_mut().zip(&row[self.first..]) {
                *sum += f64::from(x) * f64::from(x);
            }
        }
    }
}

/// Raises each maximum to the magnitude beside it.
fn raise(maxima: &mut [f32], values: &[f32]) {
    maxima.iter_mut().zip(values).for_each(|(most, value)| *most = most.max(value.abs()));
}

fn differences(before: &Matrix, now: &Matrix) -> Vec<f32> {
    before.values().iter().zip(now.values()).map(|(before, now)| before - now).collect()
}

#[cfg(test)]
mod tests;
