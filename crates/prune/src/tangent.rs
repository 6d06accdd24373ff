//! A gated layer to first order: where its outputs' squared error falls, and how it bends.

use crate::RegressionError;
use crate::descent::Descent;
use crate::gated::{Gated, PART, Ready, Rises, product};
use crate::metric::Metric;
use llmopt_linalg::{Cross, Gemm, Packed, Symmetric, kept_bytes};
use rayon::prelude::*;

/// Sums over tokens from which gate and up projection of a gated layer are moved, so that its outputs
/// come closer to those asked for: a Gauss-Newton step on `sum |t - y(G, U)|^2` (Nocedal and Wright,
/// Numerical Optimization, section 10.3).
///
/// With the residuals `r = t - y` and the units' derivatives s to their gates and ups, the gradient
/// to row i of either is `sum s_i (D^T r)_i x^T`, and the curvature between rows i and j
/// `(D^T D)_ij sum s_i s_j x x^T`. The latter is approximated, to precondition with, by
/// `(D^T D)_ii E[s_i^2]` times `sum x x^T` on the diagonal.
///
/// Work is spread over the rayon pool in which it is called. Results do not depend on the number of
/// threads.
pub struct Tangent {
    gated: Gated,
    layer: Jacobian,
    /// To the gates, and to the ups.
    gradient: [Cross; 2],
    /// Sums of the units' squared derivatives to either.
    squares: [Vec<f64>; 2],
    inputs: Symmetric,
    pieces: usize,
    tokens: usize,
    error: f64,
    energy: f64,
}

/// The layer at its first weights, in both directions.
pub(crate) struct Jacobian {
    pub(crate) ready: Ready,
    /// The transpose of D.
    pub(crate) back: Packed,
    /// By how much units rise at the first pieces of tokens, as many as there is room for: a step would
    /// compute them anew.
    pub(crate) known: Vec<Rises>,
}

impl Jacobian {
    /// Keeps what was computed of a piece, if all before it are kept and there is room.
    fn keep(&mut self, piece: usize, rises: Rises) {
        let values = |rises: &Rises| rises.with_gate.len() + rises.with_up.len();
        let held: usize = self.known.iter().chain([&rises]).map(values).sum();
        if self.known.len() == piece && held * size_of::<f32>() <= ROOM {
            self.known.push(rises);
        }
    }
}

impl Tangent {
    /// Nothing seen yet.
    pub fn new(gemm: Gemm, gated: Gated) -> Self {
        let (units, inputs) = (gated.units(), gated.inputs);
        Self {
            layer: Jacobian {
                ready: gated.ready(gemm),
                back: gemm.packed_transposed(&gated.down, units),
                known: Vec::new(),
            },
            gradient: [(); 2].map(|()| Cross::rectangle(units, inputs)),
            squares: [(); 2].map(|()| vec![0.0; units]),
            inputs: Symmetric::zeros(inputs),
            pieces: 0,
            tokens: 0,
            error: 0.0,
            energy: 0.0,
            gated,
        }
    }

    /// Adds tokens: inputs `[count, inputs]`, and the outputs asked for, `[count, outputs]`. Calls with
    /// whole pieces of [`Tangent::PIECE`] tokens lose no time.
    pub fn add(&mut self, inputs: &[f32], targets: &[f32]) {
        let (width, outputs) = (self.gated.inputs, self.gated.outputs());
        let pieces = inputs.chunks(Self::PIECE * width).zip(targets.chunks(Self::PIECE * outputs));
        pieces.for_each(|(inputs, targets)| self.add_piece(inputs, targets));
    }

    fn add_piece(&mut self, inputs: &[f32], targets: &[f32]) {
        let gemm = self.layer.ready.gemm;
        let values = self.layer.ready.values(inputs);
        let mut residual = self.layer.ready.outputs(&values.units);
        residual.iter_mut().zip(targets).for_each(|(value, target)| *value = target - *value);
        self.error += square(&residual);
        self.energy += square(targets);
        self.tokens += inputs.len() / self.gated.inputs;
        let Rises { with_gate, with_up } = &values.rises;
        add_squares(&mut self.squares[0], with_gate);
        add_squares(&mut self.squares[1], with_up);
        self.inputs.add_products(gemm, inputs);
        let back = product(gemm, &residual, &self.layer.back);
        let [to_gate, to_up] = &mut self.gradient;
        to_gate.add_products(gemm, &times(with_gate, back.clone()), inputs);
        to_up.add_products(gemm, &times(with_up, back), inputs);
        self.layer.keep(self.pieces, values.rises);
        self.pieces += 1;
    }

    /// The squared error of the outputs, as a share of the energy of those asked for.
    pub fn error(&self) -> f64 {
        if self.energy > 0.0 { self.error / self.energy } else { 0.0 }
    }

    /// Of so many steps those that the tokens seen are worth: one for every eight tokens of each input,
    /// and at least one. Measured, what more of them gain is hardly seen on other tokens.
    pub fn worthwhile(&self, steps: usize) -> usize {
        steps.min((self.tokens / (WORTH * self.gated.inputs.max(1))).max(1))
    }

    /// How the weights are moved, in so many steps.
    ///
    /// # Errors
    /// [`RegressionError`] if what was summed is not finite.
    pub fn descent(self, steps: usize) -> Result<Descent, RegressionError> {
        let Self { gated, layer, gradient, mut squares, inputs, tokens, .. } = self;
        let mut down = vec![0.0; gated.units()];
        add_squares(&mut down, &gated.down);
        for square in &mut squares {
            let curvatures = square.iter_mut().zip(&down);
            curvatures.for_each(|(square, down)| *square *= down / tokens.max(1) as f64);
        }
        let metric = Metric::new(&squares, &inputs)?;
        drop(inputs);
        let gradient = gradient.map(Cross::into_values);
        if !gradient.iter().flatten().all(|value| value.is_finite()) {
            return Err(RegressionError::NotFinite);
        }
        Ok(Descent::new(gated, layer, metric, gradient, tokens, steps))
    }

    /// The most memory that a tangent of so many tokens takes with its descent, the layer's matrices
    /// included.
    pub fn bytes(
        gemm: Gemm,
        tokens: usize,
        [units, inputs, outputs]: [usize; 3],
        threads: usize,
    ) -> u64 {
        let matrix = (units * inputs * size_of::<f32>()) as u64;
        let layer = 2 * matrix + (outputs * units * size_of::<f32>()) as u64;
        let packed = Ready::bytes(gemm, units, inputs, outputs, threads)
            + gemm.packed_bytes(units, outputs) as u64;
        let metric = Metric::bytes(units, inputs);
        let sums = Symmetric::bytes(inputs) + (3 * units * size_of::<f64>()) as u64;
        let piece = Self::PIECE * (8 * units + 2 * outputs) * size_of::<f32>();
        let crossing = Cross::add_products_bytes(gemm, units, inputs, threads);
        let squaring = Symmetric::add_products_bytes(gemm, inputs, threads);
        let multiplying = gemm.products_bytes(inputs.max(units).max(outputs), threads);
        let adding = (piece + crossing.max(squaring).max(multiplying)) as u64;
        let making = Metric::making_bytes(inputs, threads) + metric;
        let moving = Metric::solving_bytes(inputs, threads) + 2 * matrix;
        let directions = 2 * matrix + 2 * gemm.packed_bytes(units, inputs) as u64;
        // What multiplying in f64 takes, a thread keeps.
        let descent =
            metric + kept_bytes(threads) as u64 + directions + moving.max(2 * matrix + adding);
        let known = (2 * tokens * units * size_of::<f32>()).min(ROOM) as u64;
        layer + packed + known + 2 * matrix + (sums + adding.max(making)).max(descent)
    }

    /// Tokens that are taken together.
    pub const PIECE: usize = 512;
}

/// `values` times `factors`, element by element.
pub(crate) fn times(factors: &[f32], mut values: Vec<f32>) -> Vec<f32> {
    let parts = values.par_chunks_mut(PART).zip(factors.par_chunks(PART));
    parts.for_each(|(values, factors)| {
        values.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
    });
    values
}

/// The sum of squares.
pub(crate) fn square(values: &[f32]) -> f64 {
    dot(values, values)
}

/// The sum of products, in f64.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let parts = a.par_chunks(PART).zip(b.par_chunks(PART));
    let part = |(a, b): (&[f32], &[f32])| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    parts.map(part).collect::<Vec<f64>>().into_iter().sum()
}

/// Adds the squares of rows, by column.
fn add_squares(sums: &mut [f64], rows: &[f32]) {
    for row in rows.chunks_exact(sums.len().max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value).powi(2));
    }
}

/// Tokens for each input that are worth a step.
const WORTH: usize = 8;

/// Bytes of what is known of tokens.
const ROOM: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_linalg::{KernelChoice, Precision, vector};

    #[test]
    fn what_is_known_of_tokens_changes_nothing() {
        let [units, inputs, outputs] = [5, 4, 3];
        let some = |count: usize, seed: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * 7919 + seed) % 997) as f32 / 997.0 - 0.5).collect()
        };
        let tokens = 2 * Tangent::PIECE + 100;
        let (seen, targets) = (some(tokens * inputs, 1), some(tokens * outputs, 2));
        let gemm = Gemm::new(Precision::F32, KernelChoice::Portable).expect("plain Rust");
        let moved = |known: usize| {
            let mut tangent = Tangent::new(
                gemm,
                Gated {
                    gate: some(units * inputs, 3),
                    up: some(units * inputs, 4),
                    down: some(outputs * units, 5),
                    gate_bias: None,
                    up_bias: None,
                    inputs,
                    slopes: vector::silu_slopes,
                },
            );
            tangent.add(&seen, &targets);
            assert_eq!(tangent.layer.known.len(), 3);
            tangent.layer.known.truncate(known);
            let mut descent = tangent.descent(3).expect("finite sums");
            while descent.is_open() {
                descent.add(&seen);
                descent.step();
            }
            let moved = descent.into_gated();
            (moved.gate, moved.up)
        };
        assert!(moved(3) == moved(0) && moved(3) == moved(1));
    }
}
