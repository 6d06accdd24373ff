//! Products of whole matrices, in f64 or f32 alike.

use crate::dense::{WORKSPACE, add_rows_transposed};
use crate::real::Real;
use rayon::prelude::*;

/// `out += factor * a * b^T` with `out` `[m, n]`, `a` `[m, inner]` and `b` `[n, inner]`, row-major.
///
/// Work is spread over the rayon pool in which it is called. Results do not depend on the number of
/// threads. Allocates [`add_product_transposed_bytes`].
///
/// # Panics
/// If the sizes do not fit together.
pub fn add_product_transposed<T: Real>(out: &mut [T], factor: f64, a: &[T], b: &[T], inner: usize) {
    if inner == 0 || out.is_empty() {
        return;
    }
    let n = b.len() / inner;
    assert!(b.len() == n * inner && a.len().is_multiple_of(inner), "whole rows");
    assert_eq!(out.len(), a.len() / inner * n);
    let chunks = out.par_chunks_mut(ROWS * n).zip(a.par_chunks(ROWS * inner));
    chunks.for_each(|(out, a)| add_rows_transposed(out, factor, a, b, inner));
}

/// The most memory that [`add_product_transposed`] allocates on so many threads.
pub fn add_product_transposed_bytes(threads: usize) -> usize {
    threads * WORKSPACE
}

/// Rows that a thread multiplies at once: a constant, so that the grouping of a sum is one, too.
const ROWS: usize = 64;

#[cfg(test)]
mod tests {
    use super::add_product_transposed;
    use crate::tests::random;

    #[test]
    fn products_agree_with_a_triple_loop() {
        for (m, n, inner) in
            [(1, 1, 1), (5, 7, 3), (65, 600, 1), (130, 1030, 17), (3, 0, 4), (0, 3, 4)]
        {
            let wide = |length, seed| -> Vec<f64> {
                random(length, seed).into_iter().map(f64::from).collect()
            };
            let (a, b, before) = (wide(m * inner, 1), wide(n * inner, 2), wide(m * n, 3));
            let mut out = before.clone();
            add_product_transposed(&mut out, -2.0, &a, &b, inner);
            for (at, (found, before)) in out.iter().zip(&before).enumerate() {
                let (a, b) = (&a[at / n * inner..][..inner], &b[at % n * inner..][..inner]);
                let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                let error = found - (before - 2.0 * product);
                assert!(error.abs() < 1e-12, "{m} x {n} x {inner}: {at} is off by {error}");
            }
            let narrow =
                |values: &[f64]| -> Vec<f32> { values.iter().map(|&value| value as f32).collect() };
            let (a, b, mut single) = (narrow(&a), narrow(&b), narrow(&before));
            add_product_transposed(&mut single, -2.0, &a, &b, inner);
            for (single, out) in single.iter().zip(&out) {
                assert!((f64::from(*single) - out).abs() < 1e-4, "{single}, in f64 {out}");
            }
        }
    }
}
