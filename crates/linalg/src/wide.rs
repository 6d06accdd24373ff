//! Products of whole matrices in f64.

use crate::dense::{WORKSPACE, add_rows_transposed};
use rayon::prelude::*;

/// `out += factor * a * b^T` with `out` `[m, n]`, `a` `[m, inner]` and `b` `[n, inner]`, row-major.
///
/// Work is spread over the rayon pool in which it is called. Results do not depend on the number of
/// threads. Allocates [`add_product_transposed_bytes`].
///
/// # Panics
/// If the sizes do not fit together.
pub fn add_product_transposed(out: &mut [f64], factor: f64, a: &[f64], b: &[f64], inner: usize) {
    if inner == 0 || out.is_empty() {
        return;
    }
    let n = b.len() / inner;
    assert!(b.len() == n * inner && a.len() % inner == 0, "whole rows");
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
