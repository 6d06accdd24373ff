//! Rows times the matrix.

use super::Symmetric;
use crate::dense::{Blocks, WORKSPACE, add_product, add_product_transposed};
use crate::tiles::{AREA, TILE};
use crate::{Band, Gemm};
use rayon::prelude::*;

impl Symmetric {
    /// Writes `rows * self`, both `[count, order]`.
    ///
    /// Elements of the matrix beyond f32 count as infinite: [`Symmetric::scale`] it first where it may
    /// have such. Allocates [`Symmetric::times_bytes`].
    pub fn times(&self, gemm: Gemm, rows: &[f32], out: &mut [f32]) {
        let order = self.order();
        assert_eq!(rows.len(), out.len());
        if rows.is_empty() {
            return;
        }
        assert!(order > 0 && rows.len().is_multiple_of(order), "whole rows");
        for first in (0..order).step_by(BAND * TILE) {
            let width = (order - first).min(BAND * TILE);
            let mut packed = gemm.pack(width, order);
            packed.bands_mut(TILE).into_par_iter().for_each(|mut part| {
                let mut values = vec![0.0; part.rows().len() * order];
                self.band((first + part.rows().start) / TILE, &mut values);
                part.fill(&values);
            });
            let chunks = rows.par_chunks(ROWS * order).zip(out.par_chunks_mut(ROWS * order));
            chunks.for_each(|(rows, out)| {
                let mut products = vec![0.0; rows.len() / order * width];
                gemm.multiply(rows, &packed, 0..width, &mut products);
                for (products, out) in products.chunks(width).zip(out.chunks_mut(order)) {
                    out[first..][..width].copy_from_slice(products);
                }
            });
        }
    }

    /// The most memory that [`Symmetric::times`] allocates on so many threads.
    pub fn times_bytes(gemm: Gemm, order: usize, threads: usize) -> usize {
        let filling = TILE * order * size_of::<f32>();
        let multiplying = gemm.scratch_bytes(ROWS, order) + ROWS * BAND * TILE * size_of::<f32>();
        let packed = gemm.packed_bytes(BAND * TILE, order) + BAND * size_of::<Band<'_>>();
        packed + threads * (filling + multiplying)
    }

    /// `r * self * r^T` for each row `r` of `[count, order]`, in f64. Allocates the result and
    /// [`Symmetric::quadratic_bytes`].
    pub fn quadratic(&self, rows: &[f32]) -> Vec<f64> {
        let order = self.order();
        if rows.is_empty() {
            return Vec::new();
        }
        assert!(order > 0 && rows.len().is_multiple_of(order), "whole rows");
        let chunks = rows.par_chunks(ROWS * order);
        let forms = chunks.map(|rows| self.forms(&Blocks::new(rows, order)));
        forms.collect::<Vec<_>>().concat()
    }

    /// The most memory that [`Symmetric::quadratic`] allocates on so many threads, beside its result.
    pub fn quadratic_bytes(order: usize, threads: usize) -> usize {
        let chunk = (ROWS * TILE + AREA + 3 * ROWS) * size_of::<f64>();
        threads * (Blocks::<f64>::bytes(ROWS, order) + chunk + WORKSPACE)
    }

    /// What is below the diagonal counts twice.
    fn forms(&self, rows: &Blocks) -> Vec<f64> {
        let mut forms = vec![0.0; rows.block(0).len() / TILE];
        let mut products = vec![0.0; rows.block(0).len()];
        for i in 0..self.tiles.count() {
            products.fill(0.0);
            for j in 0..i {
                add_product_transposed(&mut products, 2.0, rows.block(j), self.tiles.tile(i, j));
            }
            let diagonal = mirrored(self.tiles.tile(i, i));
            add_product(&mut products, 1.0, rows.block(i), &diagonal);
            let each = products.chunks_exact(TILE).zip(rows.block(i).chunks_exact(TILE));
            for (form, (products, row)) in forms.iter_mut().zip(each) {
                *form += products.iter().zip(row).map(|(p, r)| p * r).sum::<f64>();
            }
        }
        forms
    }
}

/// A tile of the diagonal with both its triangles.
fn mirrored(tile: &[f64]) -> Vec<f64> {
    let at = |i: usize, j: usize| tile[i.max(j) * TILE + i.min(j)];
    (0..AREA).map(|element| at(element / TILE, element % TILE)).collect()
}

/// Rows that are multiplied at once.
const ROWS: usize = 64;

/// Tiles of the matrix that are packed at once.
const BAND: usize = 4;
