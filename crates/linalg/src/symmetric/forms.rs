//! Quadratic forms with products in f32: many rows in little time, where a few digits are enough.

use super::Symmetric;
use crate::tiles::TILE;
use crate::{Band, Gemm, Packed};
use rayon::prelude::*;

impl Symmetric {
    /// `r * self * r^T` for each row `r` of `[count, order]`, as [`Symmetric::quadratic`], but with
    /// products and their sums over a row of the matrix in f32. Of the matrix, whose diagonal is not
    /// negative, rows and columns are first divided by powers of two near the roots of the diagonal,
    /// so that nothing leaves the range of f32.
    ///
    /// Allocates the result and [`Symmetric::quadratic_in_f32_bytes`].
    pub fn quadratic_in_f32(&self, gemm: Gemm, rows: &[f32]) -> Vec<f64> {
        let order = self.order();
        if rows.is_empty() {
            return Vec::new();
        }
        assert!(order > 0 && rows.len().is_multiple_of(order), "whole rows");
        let mut forms = vec![0.0; rows.len() / order];
        let exponents: Vec<i32> =
            self.diagonal().iter().map(|&value| half_exponent(value)).collect();
        for first in (0..order).step_by(BAND * TILE) {
            let end = order.min(first + BAND * TILE);
            let packed = self.packed_band(gemm, first, end, &exponents);
            let chunks = forms.par_chunks_mut(ROWS).zip(rows.par_chunks(ROWS * order));
            chunks.for_each(|(forms, rows)| {
                let mut scaled = Vec::with_capacity(forms.len() * end);
                for row in rows.chunks_exact(order) {
                    let row = row[..end].iter().zip(&exponents);
                    scaled.extend(row.map(|(&value, &exponent)| value * power(exponent) as f32));
                }
                let mut products = vec![0.0; forms.len() * packed.rows()];
                gemm.multiply(&scaled, &packed, 0..packed.rows(), &mut products);
                let each = products.chunks_exact(packed.rows()).zip(scaled.chunks_exact(end));
                for (form, (products, row)) in forms.iter_mut().zip(each) {
                    let terms = products.iter().zip(&row[first..]);
                    *form += terms.map(|(&p, &r)| f64::from(p) * f64::from(r)).sum::<f64>();
                }
            });
        }
        forms
    }

    /// The most memory that [`Symmetric::quadratic_in_f32`] allocates on so many threads, beside its
    /// result.
    pub fn quadratic_in_f32_bytes(gemm: Gemm, order: usize, threads: usize) -> usize {
        let width = order.min(BAND * TILE);
        let filling = TILE * order * size_of::<f32>() + 2 * order * size_of::<f64>();
        let multiplying =
            gemm.scratch_bytes(ROWS, order) + ROWS * (order + width) * size_of::<f32>();
        let packed = gemm.packed_bytes(width, order) + BAND * size_of::<Band<'_>>();
        let diagonal = order * (size_of::<f64>() + size_of::<i32>());
        diagonal + packed + threads * filling.max(multiplying)
    }

    /// Rows `first..end` up to column `end`, scaled. What is left of the diagonal's tiles counts twice,
    /// and what is right of them not at all.
    fn packed_band(&self, gemm: Gemm, first: usize, end: usize, exponents: &[i32]) -> Packed {
        let mut packed = gemm.pack(end - first, end);
        packed.bands_mut(TILE).into_par_iter().for_each(|mut part| {
            let tile = (first + part.rows().start) / TILE;
            let mut values = vec![0.0; part.rows().len() * end];
            let mut elements = vec![0.0; self.tiles.range(tile).end];
            let powers = |exponents: &[i32]| exponents.iter().map(|&e| power(-e)).collect();
            let scales: Vec<f64> = powers(&exponents[..elements.len()]);
            for (row, out) in self.tiles.range(tile).zip(values.chunks_exact_mut(end)) {
                self.copy_row(row, &mut elements);
                elements[..tile * TILE].iter_mut().for_each(|element| *element *= 2.0);
                for ((out, element), scale) in out.iter_mut().zip(&elements).zip(&scales) {
                    *out = (element * (scales[row] * scale)) as f32;
                }
            }
            part.fill(&values);
        });
        packed
    }
}

/// Half the exponent of a number; zero for zero and for what is far from every f32's square.
fn half_exponent(value: f64) -> i32 {
    match value {
        value if value > 0.0 && value.is_finite() => {
            ((((value.to_bits() >> 52) as i32) - 1023) >> 1).clamp(-MOST, MOST)
        }
        _ => 0,
    }
}

fn power(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// The greatest exponent of a scale, well inside those of f32.
const MOST: i32 = 100;

/// Rows that are multiplied at once.
const ROWS: usize = 64;

/// Tiles of the matrix that are packed at once.
const BAND: usize = 4;
