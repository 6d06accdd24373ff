//! The curvature of a gated layer, approximated so that it can be inverted.

use crate::RegressionError;
use llmopt_linalg::{Factor, Symmetric};

/// For every unit's gate and up the product of a number and one matrix over inputs, which is damped: the
/// expectation of a product is taken for the product of expectations (K-FAC, 1503.05671, section 3),
/// and units for strangers.
pub(crate) struct Metric {
    /// For gates and for ups, what the inverse is multiplied by, unit by unit.
    units: [Vec<f32>; 2],
    /// Over inputs, scaled to a diagonal of mean one.
    inputs: Factor,
    /// What the true curvature of gates and of ups is damped by.
    pub(crate) ridges: [f64; 2],
}

impl Metric {
    /// Of what bends the gate and the up of each unit, per token, and the sum of inputs' products.
    pub(crate) fn new(units: &[Vec<f64>; 2], inputs: &Symmetric) -> Result<Self, RegressionError> {
        let means = units.each_ref().map(|bends| mean(bends));
        let greatest = means[0].max(means[1]);
        let scale = |curvature: f64, mean: f64| match greatest / (curvature + UNITS * mean) {
            scale if scale.is_finite() => scale as f32,
            _ => 0.0,
        };
        let scales = |which: usize| {
            let mean = means[which];
            units[which].iter().map(move |&curvature| scale(curvature, mean))
        };
        let order: Vec<usize> = (0..inputs.order()).collect();
        let among_inputs = mean(&inputs.diagonal());
        Ok(Self {
            units: [0, 1].map(|which| scales(which).collect()),
            inputs: inputs.damped_cholesky(&order, INPUTS)?.0,
            ridges: means.map(|mean| RIDGE * mean * among_inputs),
        })
    }

    /// The inverse times `rows`, `[units, inputs]`, of gates and of ups, up to a factor.
    pub(crate) fn solve(&self, rows: &[Vec<f32>; 2]) -> [Vec<f32>; 2] {
        [0, 1].map(|which| {
            let mut solved = rows[which].clone();
            self.inputs.solve_rows(&mut solved);
            let rows = solved.chunks_exact_mut(self.inputs.order().max(1));
            for (row, scale) in rows.zip(&self.units[which]) {
                row.iter_mut().for_each(|value| *value *= scale);
            }
            solved
        })
    }

    /// The memory that is held.
    pub(crate) fn bytes(units: usize, inputs: usize) -> u64 {
        Symmetric::bytes(inputs) + (2 * units * size_of::<f32>()) as u64
    }

    /// The most memory that making it takes beside.
    pub(crate) fn making_bytes(inputs: usize, threads: usize) -> u64 {
        Symmetric::cholesky_bytes(inputs, threads) as u64
    }

    /// The most memory that solving takes beside the result.
    pub(crate) fn solving_bytes(inputs: usize, threads: usize) -> u64 {
        Factor::solve_rows_bytes(inputs, threads) as u64
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Damping, each relative to the mean.
const UNITS: f64 = 1e-2;
const INPUTS: f64 = 1e-4;
const RIDGE: f64 = 1e-3;
