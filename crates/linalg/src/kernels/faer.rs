//! The f32 product of the `faer` library, on one thread.

use super::Product;
use crate::buffer::as_f32;
use crate::packed::{Layout, Packed};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use std::ops::Range;

pub(crate) struct Faer;

impl Product for Faer {
    fn layout(&self) -> Layout {
        Layout::Rows
    }

    /// A buffer that the library keeps for each thread, whatever the sizes (measured, 0.24.4).
    fn scratch_bytes(&self, _: usize, _: usize) -> usize {
        4 << 20
    }

    fn multiply(&self, inputs: &[f32], weights: &Packed, rows: Range<usize>, out: &mut [f32]) {
        let columns = weights.columns();
        if columns == 0 || rows.is_empty() {
            return out.fill(0.0);
        }
        let count = inputs.len() / columns;
        let stride = columns.div_ceil(16) * 16;
        let weights = as_f32(&weights.lines().as_flattened()[rows.start * stride..]);
        let weights =
            MatRef::from_row_major_slice_with_stride(weights, rows.len(), columns, stride);
        let inputs = MatRef::from_row_major_slice(inputs, count, columns);
        let out = MatMut::from_row_major_slice_mut(out, count, rows.len());
        matmul(out, Accum::Replace, inputs, weights.transpose(), 1.0, Par::Seq);
    }
}
