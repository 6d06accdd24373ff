//! From hidden states to logits.

use crate::chunk::{ROWS, split_of};
use crate::engine::Engine;
use crate::error::ForwardError;
use crate::matrix::Matrix;
use crate::ops::product::product;
use crate::ops::quantize::quantize;
use crate::weights::Linear;
use llmopt_arch::program::Program;
use llmopt_linalg::vector;
use llmopt_scheme::Activations;
use rayon::prelude::*;

impl Engine {
    /// The logits of some tokens of the vocabulary: rows of `hidden`, which went through the head's
    /// norm, times some rows of the head, with the head's scale and cap.
    ///
    /// # Errors
    /// [`ForwardError::Size`] where `hidden` or `slice` are not as wide as the hidden state.
    pub fn logits(
        &self,
        program: &Program,
        hidden: &[f32],
        slice: &Linear,
    ) -> Result<Matrix, ForwardError> {
        let (width, features) = (program.hidden, slice.packed.rows());
        let size = |expected: usize, found: usize| ForwardError::Size {
            phase: program.head.norm.name.clone(),
            tensor: program.head.tensor.clone(),
            expected: expected.to_string(),
            found: found.to_string(),
        };
        let bias = slice.bias.as_ref().map_or(features, Vec::len);
        if width == 0 || slice.packed.columns() != width || !hidden.len().is_multiple_of(width) {
            return Err(size(width, slice.packed.columns()));
        }
        if bias != features {
            return Err(size(features, bias));
        }
        let rows = hidden.len() / width;
        if rows == 0 || features == 0 {
            return Ok(Matrix::zeros(rows, features));
        }
        let threads = rayon::current_num_threads();
        self.buffers.begin(self.logits_bytes(program, rows, features, threads) as usize);
        let mut logits = self.buffers.matrix(rows, features);
        let chunks = logits.values_mut().par_chunks_mut(ROWS * features).with_max_len(1);
        chunks.zip(hidden.par_chunks(ROWS * width)).for_each(|(logits, hidden)| {
            let quantized = quantized(hidden, width, slice.activations_before());
            let hidden = quantized.as_deref().unwrap_or(hidden);
            product(self.gemm, split_of(rows), hidden, slice, logits);
            if program.head.scale != 1.0 {
                logits.iter_mut().for_each(|logit| *logit *= program.head.scale);
            }
            if let Some(cap) = program.head.cap {
                vector::tanh_cap(logits, cap);
            }
        });
        Ok(logits)
    }
}

fn quantized(hidden: &[f32], width: usize, to: Activations) -> Option<Vec<f32>> {
    (to != Activations::None).then(|| {
        let mut output = vec![0.0; hidden.len()];
        quantize(hidden, width, to, &mut output);
        output
    })
}
