//! Many rows times a packed matrix, spread over threads.

use crate::{Gemm, Packed};
use rayon::prelude::*;

impl Gemm {
    /// Weights `[rows, columns]`, row-major, packed. Allocates [`Gemm::filled_bytes`].
    pub fn packed(self, weights: &[f32], columns: usize) -> Packed {
        let rows = weights.len() / columns.max(1);
        self.filled(rows, columns, |rows, out| {
            out.copy_from_slice(&weights[rows.start * columns..rows.end * columns]);
        })
    }

    /// The transpose of weights `[rows, columns]`, row-major, packed. Allocates [`Gemm::filled_bytes`].
    pub fn packed_transposed(self, weights: &[f32], columns: usize) -> Packed {
        let rows = weights.len() / columns.max(1);
        self.filled(columns, rows, |band, out| {
            for (row, values) in weights.chunks_exact(columns).enumerate() {
                for (place, value) in values[band.clone()].iter().enumerate() {
                    out[place * rows + row] = *value;
                }
            }
        })
    }

    /// Writes `rows * weights^T`, `[count, columns]` to `[count, weights.rows()]`.
    ///
    /// Work is spread over the rayon pool in which it is called. Results do not depend on the number
    /// of threads. Allocates [`Gemm::products_bytes`].
    ///
    /// # Panics
    /// If the sizes do not fit together, or another kernel packed the weights.
    pub fn products(self, rows: &[f32], weights: &Packed, out: &mut [f32]) {
        let (features, columns) = (weights.rows(), weights.columns());
        if out.is_empty() {
            return;
        }
        let chunks = out.par_chunks_mut(ROWS * features).zip(rows.par_chunks(ROWS * columns));
        chunks.for_each(|(out, rows)| self.multiply(rows, weights, 0..features, out));
    }

    /// The most memory that [`Gemm::products`] allocates on so many threads.
    pub fn products_bytes(self, columns: usize, threads: usize) -> usize {
        threads * self.scratch_bytes(ROWS, columns)
    }
}

/// Rows that are multiplied together.
const ROWS: usize = 64;

#[cfg(test)]
mod tests {
    use crate::tests::random;
    use crate::{Gemm, KernelChoice, Precision};

    #[test]
    fn products_agree_with_a_triple_loop_and_transposing_twice_is_nothing() {
        let gemm = Gemm::new(Precision::F32, KernelChoice::Auto).expect("f32 is everywhere");
        for (count, features, columns) in [(1, 1, 1), (65, 37, 19), (130, 16, 64), (0, 3, 5)] {
            let (rows, weights) = (random(count * columns, 1), random(features * columns, 2));
            let mut turned = vec![0.0; weights.len()];
            for (at, value) in weights.iter().enumerate() {
                turned[at % columns * features + at / columns] = *value;
            }
            let (mut out, mut twice) = (vec![0.0; count * features], vec![0.0; count * features]);
            gemm.products(&rows, &gemm.packed(&weights, columns), &mut out);
            gemm.products(&rows, &gemm.packed_transposed(&turned, features), &mut twice);
            assert_eq!(out, twice);
            for (at, found) in out.iter().enumerate() {
                let row = &rows[at / features * columns..][..columns];
                let weights = &weights[at % features * columns..][..columns];
                let terms = row.iter().zip(weights).map(|(a, b)| f64::from(*a) * f64::from(*b));
                let expected: f64 = terms.sum();
                assert!((f64::from(*found) - expected).abs() < 1e-4, "{at}: {found}, {expected}");
            }
        }
    }
}
