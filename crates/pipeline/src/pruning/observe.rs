//! What the units of a group show, and what the outputs of their reader should have been.

use crate::pruning::group::PruneGroup;
use llmopt_calib::{Extent, Needs, Observation};
use llmopt_forward::Matrix;
use llmopt_linalg::{Cross, Gemm};

/// Sums over the tokens of the pruned model's stream, as the group was found.
pub(super) struct Observed {
    pub(super) inputs: Observation,
    /// Sum of inputs, by column.
    pub(super) sums: Vec<f64>,
    /// What the original's outputs have beyond those that were seen.
    pub(super) residual: Option<Residual>,
}

/// The difference between two streams behind the reader: `t - W x`, where what the reader gives is
/// added to the hidden state as it is.
pub(super) struct Residual {
    /// Sum of `(t - W x) x^T`.
    pub(super) products: Cross,
    /// Sum of `t - W x`, by row.
    pub(super) sums: Vec<f64>,
}

impl Observed {
    /// Nothing seen yet; `follows` where the original's stream is the target.
    pub(super) fn new(group: &PruneGroup, gram: bool, follows: bool) -> Self {
        let residual = || Residual {
            products: Cross::rectangle(group.rows, group.columns),
            sums: vec![0.0; group.rows],
        };
        Self {
            inputs: Observation::new(extent(group), Needs { gram, ..Needs::default() }),
            sums: vec![0.0; group.columns],
            residual: (follows && gram).then(residual),
        }
    }

    /// The memory that one takes.
    pub(super) fn bytes(group: &PruneGroup, gram: bool) -> u64 {
        let vectors = (group.columns + group.rows) * size_of::<f64>();
        let products = if gram { Cross::bytes(group.rows, group.columns) } else { 0 };
        Observation::bytes(extent(group), Needs { gram, ..Needs::default() })
            + products
            + vectors as u64
    }

    /// The memory that adding so many tokens takes meanwhile.
    pub(super) fn adding_bytes(
        gemm: Gemm,
        group: &PruneGroup,
        tokens: usize,
        threads: usize,
    ) -> u64 {
        let differences = tokens * group.rows * size_of::<f32>();
        let adding = Cross::add_products_bytes(gemm, group.rows, group.columns, threads);
        let seen = Observation::adding_bytes(gemm, extent(group), tokens, threads);
        seen.max((differences + adding) as u64)
    }

    /// Adds tokens: the units' values, `[tokens, columns]`, and the hidden states behind the phase in the
    /// original and here.
    pub(super) fn add(&mut self, gemm: Gemm, seen: &Matrix, behind: Option<(&[f32], &[f32])>) {
        self.inputs.add(gemm, seen);
        add_rows(&mut self.sums, seen.values());
        if let (Some(residual), Some((original, own))) = (&mut self.residual, behind) {
            let pairs = original.iter().zip(own);
            let differences: Vec<f32> = pairs.map(|(original, own)| original - own).collect();
            residual.products.add_products(gemm, &differences, seen.values());
            add_rows(&mut residual.sums, &differences);
        }
    }
}

fn add_rows(sums: &mut [f64], values: &[f32]) {
    for row in values.chunks_exact(sums.len().max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
}

fn extent(group: &PruneGroup) -> Extent {
    Extent { columns: group.columns, residual: None }
}
