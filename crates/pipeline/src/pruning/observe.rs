//! What the units of a place show, and what the outputs of their reader should have been.

use crate::pruning::target::Target;
use llmopt_calib::{Extent, Needs, Observation};
use llmopt_forward::Matrix;
use llmopt_linalg::{Cross, Gemm};

/// Sums over the tokens of the pruned model's stream, as the place was found.
pub(super) struct Observed {
    pub(super) inputs: Observation,
    /// Sum of inputs, by column.
    pub(super) sums: Vec<f64>,
    /// What the original's outputs have beyond those that were seen.
    pub(super) lack: Option<Lack>,
}

/// The difference between two streams behind the reader: `t - W x`, where what the reader gives is
/// added to the hidden state as it is.
pub(super) struct Lack {
    /// Sum of `(t - W x) x^T`.
    pub(super) products: Cross,
    /// Sum of `t - W x`, by row.
    pub(super) sums: Vec<f64>,
}

impl Observed {
    /// Nothing seen yet; `follows` where the original's stream is the target.
    pub(super) fn new(target: &Target, gram: bool, follows: bool) -> Self {
        let lack = || Lack {
            products: Cross::rectangle(target.rows, target.columns),
            sums: vec![0.0; target.rows],
        };
        Self {
            inputs: Observation::new(extent(target), Needs { gram, ..Needs::default() }),
            sums: vec![0.0; target.columns],
            lack: (follows && gram).then(lack),
        }
    }

    /// The memory that one takes.
    pub(super) fn bytes(target: &Target, gram: bool) -> u64 {
        let vectors = (target.columns + target.rows) * size_of::<f64>();
        let products = if gram { Cross::bytes(target.rows, target.columns) } else { 0 };
        Observation::bytes(extent(target), Needs { gram, ..Needs::default() })
            + products
            + vectors as u64
    }

    /// The memory that adding so many tokens takes meanwhile.
    pub(super) fn adding_bytes(gemm: Gemm, target: &Target, tokens: usize, threads: usize) -> u64 {
        let differences = tokens * target.rows * size_of::<f32>();
        let adding = Cross::add_products_bytes(gemm, target.rows, target.columns, threads);
        let seen = Observation::adding_bytes(gemm, extent(target), tokens, threads);
        seen.max((differences + adding) as u64)
    }

    /// Adds tokens: the units' values, `[tokens, columns]`, and the hidden states behind the phase in the
    /// original and here.
    pub(super) fn add(&mut self, gemm: Gemm, seen: &Matrix, behind: Option<(&[f32], &[f32])>) {
        self.inputs.add(gemm, seen);
        add_rows(&mut self.sums, seen.values());
        if let (Some(lack), Some((original, own))) = (&mut self.lack, behind) {
            let pairs = original.iter().zip(own);
            let differences: Vec<f32> = pairs.map(|(original, own)| original - own).collect();
            lack.products.add_products(gemm, &differences, seen.values());
            add_rows(&mut lack.sums, &differences);
        }
    }
}

fn add_rows(sums: &mut [f64], values: &[f32]) {
    for row in values.chunks_exact(sums.len().max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
}

fn extent(target: &Target) -> Extent {
    Extent { columns: target.columns, residual: None }
}
