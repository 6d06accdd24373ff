//! Products with packed weights.

use crate::weights::Linear;
use llmopt_linalg::{Gemm, Inputs};
use rayon::prelude::*;

/// How a product is shared among threads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    /// Not at all: other rows of inputs are at work elsewhere.
    Never,
    /// By output features: the rows of inputs are all there are.
    Features,
}

/// `output = input W^T + bias`.
pub(crate) fn product(
    gemm: Gemm,
    split: Split,
    input: &[f32],
    linear: &Linear,
    output: &mut [f32],
) {
    let features = linear.packed.rows();
    if output.is_empty() {
        return;
    }
    let input = &linear.inputs(gemm, input);
    match split {
        Split::Never => gemm.multiply_inputs(input, &linear.packed, 0..features, output),
        Split::Features => in_panels(gemm, input, linear, output),
    }
    if let Some(bias) = &linear.bias {
        for row in output.chunks_exact_mut(features) {
            row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
    }
}

fn in_panels(gemm: Gemm, input: &Inputs<'_>, linear: &Linear, output: &mut [f32]) {
    let features = linear.packed.rows();
    let rows = output.len() / features;
    let width = panel_width(rows);
    if rows == 1 {
        output.par_chunks_mut(width).enumerate().for_each(|(panel, out)| {
            let features = panel * width..panel * width + out.len();
            gemm.multiply_inputs(input, &linear.packed, features, out);
        });
        return;
    }
    let panels = (0..features.div_ceil(width)).into_par_iter().with_max_len(1).map(|panel| {
        let range = panel * width..features.min((panel + 1) * width);
        let mut part = vec![0.0; rows * range.len()];
        gemm.multiply_inputs(input, &linear.packed, range, &mut part);
        part
    });
    let panels: Vec<Vec<f32>> = panels.collect();
    for (panel, part) in panels.iter().enumerate() {
        let columns = part.len() / rows;
        for (row, values) in part.chunks_exact(columns).enumerate() {
            output[row * features + panel * width..][..columns].copy_from_slice(values);
        }
    }
}

/// Output features of a panel. Every panel reads all inputs anew, so many rows want wide ones.
fn panel_width(rows: usize) -> usize {
    if rows < 32 { 128 } else { 512 }
}
