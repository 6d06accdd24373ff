//! Many rows times a matrix that is packed strip by strip.

use crate::{Gemm, Packed};
use rayon::prelude::*;
use std::ops::Range;

impl Gemm {
    /// A matrix `[rows, columns]`, packed. `fill` writes the rows it is asked for, row-major, into
    /// zeros.
    ///
    /// Allocates [`Gemm::filled_bytes`].
    pub fn filled(
        self,
        rows: usize,
        columns: usize,
        fill: impl Fn(Range<usize>, &mut [f32]) + Sync,
    ) -> Packed {
        let mut packed = self.pack(rows, columns);
        packed.bands_mut(BAND).into_par_iter().for_each(|mut band| {
            let mut values = vec![0.0; band.rows().len() * columns];
            fill(band.rows(), &mut values);
            band.fill(&values);
        });
        packed
    }

    /// The most memory that [`Gemm::filled`] takes on so many threads.
    pub fn filled_bytes(self, rows: usize, columns: usize, threads: usize) -> usize {
        self.packed_bytes(rows, columns) + threads * BAND * columns * size_of::<f32>()
    }

    /// `rows * square * factor`, `[count, columns]`: column `order[p]` of the products at place `p`.
    ///
    /// Work is spread over the rayon pool in which it is called. Results do not depend on the number
    /// of threads. Allocates its result and [`Gemm::ordered_products_bytes`].
    pub fn ordered_products(
        self,
        rows: &[f32],
        square: &[f32],
        factor: f32,
        order: &[usize],
    ) -> Vec<f32> {
        let columns = order.len();
        let mut products = vec![0.0; rows.len()];
        for (strip, places) in order.chunks(STRIP).enumerate() {
            let first = strip * STRIP;
            let packed = self.filled(places.len(), columns, |band, out| {
                let places = &places[band];
                for (row, values) in square.chunks_exact(columns).enumerate() {
                    for (place, &column) in places.iter().enumerate() {
                        out[place * columns + row] = values[column] * factor;
                    }
                }
            });
            let chunks =
                rows.par_chunks(ROWS * columns).zip(products.par_chunks_mut(ROWS * columns));
            chunks.for_each(|(rows, products)| {
                let mut strips = vec![0.0; rows.len() / columns * places.len()];
                self.multiply(rows, &packed, 0..places.len(), &mut strips);
                let each = strips.chunks_exact(places.len());
                for (strip, products) in each.zip(products.chunks_exact_mut(columns)) {
                    products[first..][..strip.len()].copy_from_slice(strip);
                }
            });
        }
        products
    }

    /// The most memory that [`Gemm::ordered_products`] takes beside its result.
    pub fn ordered_products_bytes(self, columns: usize, threads: usize) -> usize {
        let width = STRIP.min(columns);
        let multiplying = self.scratch_bytes(ROWS, columns) + ROWS * width * size_of::<f32>();
        self.filled_bytes(width, columns, threads) + threads * multiplying
    }
}

/// Rows that a thread fills at once.
const BAND: usize = 2 * Packed::BAND_STEP;

/// Rows that are multiplied together.
const ROWS: usize = 64;

/// Columns of the products that are computed together.
const STRIP: usize = 512;
