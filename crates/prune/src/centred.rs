//! An input that is always one, taken out of the sums.
//!
//! A regression with a constant, undamped, is that of centred inputs on centred outputs: the constant
//! is eliminated from the normal equations first.

use crate::moments::{Constant, Moments};
use llmopt_linalg::{Gemm, Symmetric};
use rayon::prelude::*;
use std::borrow::Cow;

/// The Gram matrix of what varies, and the columns that do not.
pub(crate) fn gram<'a>(moments: &Moments<'a>) -> (Cow<'a, Symmetric>, Vec<bool>) {
    let diagonal = moments.gram.diagonal();
    let Some(Constant { tokens, inputs, .. }) = moments.constant else {
        let dead = diagonal.iter().map(|&square| square == 0.0).collect();
        return (Cow::Borrowed(moments.gram), dead);
    };
    let mut centred = moments.gram.clone();
    centred.add_outer(-(tokens as f64).recip(), inputs, 1);
    let pairs = centred.diagonal().into_iter().zip(diagonal);
    let dead: Vec<bool> = pairs.map(|(varies, square)| varies <= ROUNDING * square).collect();
    // What rounding leaves of a constant would be no sum of squares.
    for column in (0..dead.len()).filter(|&column| dead[column]) {
        (0..dead.len()).for_each(|other| centred.set(column, other, 0.0));
    }
    (Cow::Owned(centred), dead)
}

/// Sum of `(t - W x) x^T`, of what varies and times `unit`; absent where it is zero.
pub(crate) fn residual(
    gemm: Gemm,
    moments: &Moments<'_>,
    dead: &[bool],
    unit: f64,
) -> Option<Vec<f32>> {
    let (columns, factor) = (moments.columns(), unit as f32);
    let zeros = || vec![0.0; moments.weights.len()];
    let mut residual = moments.cross.map(|cross| {
        let places: Vec<usize> = (0..columns).collect();
        gemm.ordered_products(moments.weights, cross.values(), factor, &places)
    });
    if let Some(moved) = moments.residual {
        let sums = residual.get_or_insert_with(zeros).par_iter_mut().zip(moved);
        sums.with_min_len(PART).for_each(|(sum, term)| *sum += factor * term);
    }
    if let Some(Constant { tokens, inputs, residual: Some(outputs) }) = moments.constant {
        let rows = residual.get_or_insert_with(zeros).par_chunks_mut(columns.max(1)).zip(outputs);
        rows.for_each(|(row, output)| {
            let mean = unit * output / tokens as f64;
            row.iter_mut().zip(inputs).for_each(|(sum, input)| *sum -= (mean * input) as f32);
        });
    }
    if let Some(residual) = &mut residual {
        let rows = residual.par_chunks_mut(columns.max(1));
        rows.for_each(|row| {
            let pairs = row.iter_mut().zip(dead).filter(|(_, dead)| **dead);
            pairs.for_each(|(sum, _)| *sum = 0.0);
        });
    }
    residual
}

/// What is left of a constant, relative to its square: sums of products have the precision of f32.
const ROUNDING: f64 = 1e-6;

/// Elements that a thread takes at least.
const PART: usize = 1 << 14;
