//! The neutral middle between algorithms, codecs and evaluation.

use crate::Grid;
use llmopt_tensor::simd::{Kernel, dispatch};
use std::ops::Range;

/// A matrix of codes and the grid they stand on.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedMatrix {
    /// What the codes stand for.
    pub grid: Grid,
    /// The codes, `[rows, columns]`, row by row.
    pub codes: Vec<i8>,
}

/// Sums of squares over a matrix, in f64: what relative error and SQNR are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SquaredError {
    /// Sum of squared weights.
    pub signal: f64,
    /// Sum of squared differences between weights and what their codes stand for.
    pub noise: f64,
}

impl QuantizedMatrix {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.grid.tiles.rows()
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.grid.tiles.columns()
    }

    /// Some of its rows, as a matrix of their own. They begin where a tile does, and end where one does
    /// or with the matrix.
    pub fn band(&self, rows: Range<usize>) -> Self {
        let (grid, tiles) = (&self.grid, self.grid.tiles);
        let height = tiles.tile_rows();
        let band = rows.start / height * tiles.across()..rows.end.div_ceil(height) * tiles.across();
        let zero_points = match grid.zero_points.is_empty() {
            true => Vec::new(),
            false => grid.zero_points[band.clone()].to_vec(),
        };
        Self {
            grid: Grid {
                levels: grid.levels,
                tiles: tiles.with_rows(rows.len()),
                scales: grid.scales[band].to_vec(),
                zero_points,
            },
            codes: self.codes[rows.start * tiles.columns()..rows.end * tiles.columns()].to_vec(),
        }
    }

    /// Writes the values of all codes into `weights`, `[rows, columns]`.
    pub fn dequantize_into(&self, weights: &mut [f32]) {
        debug_assert_eq!(weights.len(), self.codes.len());
        dispatch(Dequantize { matrix: self, weights });
    }

    /// Compares with the weights that were quantized, `[rows, columns]`. Rows are summed in a fixed
    /// order, so that the result is the same on every machine.
    pub fn squared_error(&self, weights: &[f32]) -> SquaredError {
        debug_assert_eq!(weights.len(), self.codes.len());
        dispatch(Compare { matrix: self, weights })
    }

    /// The runs of codes that share a scale, in storage order: `(scale, zero point, start, end)`.
    #[inline(always)]
    fn runs(&self) -> impl Iterator<Item = (f32, f32, usize, usize)> {
        let (grid, tiles) = (&self.grid, self.grid.tiles);
        (0..tiles.rows()).flat_map(move |row| {
            (0..tiles.across()).map(move |across| {
                let tile = row / tiles.tile_rows() * tiles.across() + across;
                let columns = tiles.column_range(across);
                let start = row * tiles.columns();
                let (scale, zero) = (grid.scales[tile], grid.zero_point(tile));
                (scale, zero, start + columns.start, start + columns.end)
            })
        })
    }
}

impl SquaredError {
    /// Adds the sums of another part of the same matrix.
    pub fn add(&mut self, other: Self) {
        self.signal += other.signal;
        self.noise += other.noise;
    }

    /// Relative Frobenius error, `|W - Q| / |W|`; 0 when nothing was lost.
    pub fn relative(self) -> f64 {
        if self.noise == 0.0 { 0.0 } else { (self.noise / self.signal).sqrt() }
    }

    /// Signal to quantization noise ratio in dB; `None` when nothing was lost.
    pub fn sqnr_db(self) -> Option<f64> {
        (self.noise > 0.0 && self.signal > 0.0)
            .then(|| 10.0 * libm::log10(self.signal / self.noise))
    }
}

struct Dequantize<'a> {
    matrix: &'a QuantizedMatrix,
    weights: &'a mut [f32],
}

impl Kernel for Dequantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let levels = self.matrix.grid.levels;
        for (scale, zero, start, end) in self.matrix.runs() {
            let codes = &self.matrix.codes[start..end];
            for (weight, &code) in self.weights[start..end].iter_mut().zip(codes) {
                *weight = scale * (levels.value(code) - zero);
            }
        }
    }
}

struct Compare<'a> {
    matrix: &'a QuantizedMatrix,
    weights: &'a [f32],
}

/// Partial sums side by side: as many on every machine, whatever its vectors hold.
const LANES: usize = 8;

impl Kernel for Compare<'_> {
    type Output = SquaredError;

    #[inline(always)]
    fn run(self) -> SquaredError {
        let levels = self.matrix.grid.levels;
        let (mut signal, mut noise) = ([0.0f64; LANES], [0.0f64; LANES]);
        for (scale, zero, start, end) in self.matrix.runs() {
            let weights = self.weights[start..end].chunks(LANES);
            for (weights, codes) in weights.zip(self.matrix.codes[start..end].chunks(LANES)) {
                for (lane, (&weight, &code)) in weights.iter().zip(codes).enumerate() {
                    let error = f64::from(weight - scale * (levels.value(code) - zero));
                    signal[lane] += f64::from(weight) * f64::from(weight);
                    noise[lane] += error * error;
                }
            }
        }
        SquaredError { signal: signal.iter().sum(), noise: noise.iter().sum() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Granularity, Levels, Numeric, Tiles};

    /// Codes and weights from a formula, on sizes that divide nothing.
    fn sample(granularity: Granularity, numeric: Numeric) -> (QuantizedMatrix, Vec<f32>) {
        let tiles = Tiles::new(granularity, 7, 51).expect("divides");
        let levels = Levels::new(numeric);
        let scales = (0..tiles.count()).map(|tile| 0.01 + 0.003 * tile as f32).collect();
        let grid = Grid { levels, tiles, scales, zero_points: vec![1; tiles.count()] };
        let weights: Vec<f32> =
            (0..7 * 51).map(|i| ((i * 37 + 11) % 101) as f32 * 0.002 - 0.1).collect();
        let code = |(i, &weight): (usize, &f32)| grid.nearest(i / 51, i % 51, weight);
        let codes = weights.iter().enumerate().map(code).collect();
        (QuantizedMatrix { grid, codes }, weights)
    }

    #[test]
    fn kernels_agree_with_the_grid_element_by_element() {
        for granularity in [
            Granularity::Channel,
            Granularity::Group(17),
            Granularity::Block { rows: 4, columns: 20 },
        ] {
            for numeric in [Numeric::Int { bits: 4 }, Numeric::Int { bits: 8 }, Numeric::E4m3] {
                let (matrix, weights) = sample(granularity, numeric);
                let mut fast = vec![0.0; weights.len()];
                matrix.dequantize_into(&mut fast);
                let value = |(i, &code): (usize, &i8)| matrix.grid.value(i / 51, i % 51, code);
                let slow: Vec<f32> = matrix.codes.iter().enumerate().map(value).collect();
                assert_eq!(fast, slow);

                let square = |x: f32| f64::from(x) * f64::from(x);
                let noise: f64 = weights.iter().zip(&slow).map(|(w, q)| square(w - q)).sum();
                let signal: f64 = weights.iter().map(|&w| square(w)).sum();
                let error = matrix.squared_error(&weights);
                assert!((error.noise / noise - 1.0).abs() < 1e-6, "{error:?} {noise}");
                assert!((error.signal / signal - 1.0).abs() < 1e-6, "{error:?} {signal}");
            }
        }
    }

    #[test]
    fn a_band_holds_the_values_of_its_rows() {
        for (granularity, rows) in [
            (Granularity::Channel, 2..5),
            (Granularity::Group(17), 3..7),
            (Granularity::Block { rows: 4, columns: 20 }, 4..7),
        ] {
            let (matrix, _) = sample(granularity, Numeric::Int { bits: 4 });
            let (mut whole, mut part) = (vec![0.0; 7 * 51], vec![0.0; rows.len() * 51]);
            matrix.dequantize_into(&mut whole);
            matrix.band(rows.clone()).dequantize_into(&mut part);
            assert_eq!(part, whole[rows.start * 51..rows.end * 51], "{granularity:?}");
        }
    }

    #[test]
    fn error_measures_are_those_of_their_names() {
        let error = SquaredError { signal: 100.0, noise: 1.0 };
        assert_eq!((error.relative(), error.sqnr_db()), (0.1, Some(20.0)));
        assert_eq!(
            (SquaredError::default().relative(), SquaredError::default().sqnr_db()),
            (0.0, None)
        );
    }
}
