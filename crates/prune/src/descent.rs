//! Conjugate gradients on the weights of a gated layer's units.

use crate::gated::{Gated, PART, Rises, product};
use crate::metric::Metric;
use crate::tangent::{Jacobian, Tangent, dot, square, times};
use llmopt_linalg::{Cross, Packed};
use rayon::prelude::*;

/// Preconditioned conjugate gradients (Hestenes and Stiefel 1952; Nocedal and Wright, Numerical
/// Optimization, algorithm 5.3) on the layer to first order at its first weights. Each step is a pass
/// over the tokens: [`Descent::add`] them, then [`Descent::step`]. Where there are many, every other piece
/// of them says how the layer bends, the same ones in every step (Byrd et al. 2011, On the Use of
/// Stochastic Hessian Information in Optimization Methods for Machine Learning).
///
/// Work is spread over the rayon pool in which it is called. Results do not depend on the number of
/// threads.
pub struct Descent {
    /// Moved so far.
    gated: Gated,
    layer: Jacobian,
    metric: Metric,
    /// One of so many pieces says how the layer bends.
    curved: usize,
    /// r: what is left of the gradient, for gates and ups.
    residual: [Vec<f32>; 2],
    /// p.
    direction: [Vec<f32>; 2],
    packed: [Packed; 2],
    /// r z: the residual times itself under the metric.
    rz: f64,
    /// p H p of the Gauss-Newton Hessian H: `sum |J direction|^2`.
    curvature: f64,
    /// Pieces and tokens of this pass, and those that `curvature` was measured on.
    pieces: usize,
    tokens: usize,
    measured: usize,
    /// H p: `sum J^T J direction`, if another step follows.
    hessian_times_direction: Option<[Cross; 2]>,
    left: usize,
}

impl Descent {
    pub(crate) fn new(
        gated: Gated,
        layer: Jacobian,
        metric: Metric,
        residual: [Vec<f32>; 2],
        tokens: usize,
        steps: usize,
    ) -> Self {
        let curved = if tokens >= 2 * ENOUGH * gated.inputs { 2 } else { 1 };
        let direction = metric.solve(&residual);
        let rz = along(&residual, &direction);
        let packed = packed(&layer, &direction, gated.inputs);
        let mut descent = Self {
            gated,
            layer,
            metric,
            curved,
            residual,
            direction,
            packed,
            rz,
            curvature: 0.0,
            pieces: 0,
            tokens: 0,
            measured: 0,
            hessian_times_direction: None,
            left: steps,
        };
        descent.begin();
        descent
    }

    /// Whether another step follows.
    pub fn is_open(&self) -> bool {
        self.left > 0
    }

    /// Adds tokens: inputs `[count, inputs]`, the same in every step and in the same calls as to
    /// [`Tangent::add`]. In the last step a quarter of the pieces is enough to know how far to go.
    pub fn add(&mut self, inputs: &[f32]) {
        for inputs in inputs.chunks(Tangent::PIECE * self.gated.inputs) {
            let tokens = inputs.len() / self.gated.inputs;
            self.tokens += tokens;
            let every = if self.hessian_times_direction.is_some() { self.curved } else { MEASURED };
            if self.pieces.is_multiple_of(every) {
                self.measured += tokens;
                self.add_piece(inputs);
            }
            self.pieces += 1;
        }
    }

    fn add_piece(&mut self, inputs: &[f32]) {
        let gemm = self.layer.ready.gemm;
        let computed;
        let Rises { with_gate, with_up } = match self.layer.known.get(self.pieces) {
            Some(known) => known,
            None => {
                computed = self.layer.ready.values(inputs).rises;
                &computed
            }
        };
        let [to_gate, to_up] = &self.packed;
        let mut change = times(with_gate, product(gemm, inputs, to_gate));
        add(&mut change, 1.0, &times(with_up, product(gemm, inputs, to_up)));
        let change = self.layer.ready.outputs(&change);
        self.curvature += square(&change);
        let Some([of_gate, of_up]) = &mut self.hessian_times_direction else { return };
        let back = product(gemm, &change, &self.layer.back);
        of_gate.add_products(gemm, &times(with_gate, back.clone()), inputs);
        of_up.add_products(gemm, &times(with_up, back), inputs);
    }

    /// Moves the weights to the lowest point along the direction, and finds the next one.
    pub fn step(&mut self) {
        let ridges = self.metric.ridges;
        let norms = self.direction.each_ref().map(|direction| square(direction));
        let all = self.tokens as f64 / self.measured.max(1) as f64;
        let curvature = self.curvature * all + ridges[0] * norms[0] + ridges[1] * norms[1];
        let alpha = self.rz / curvature;
        self.left = self.left.saturating_sub(1);
        if !alpha.is_finite() {
            self.left = 0;
            return;
        }
        for (weights, direction) in
            [&mut self.gated.gate, &mut self.gated.up].into_iter().zip(&self.direction)
        {
            add(weights, alpha, direction);
        }
        if let Some(products) = self.hessian_times_direction.take() {
            for (which, product) in products.into_iter().enumerate() {
                add(&mut self.residual[which], -alpha * all, product.values());
                add(&mut self.residual[which], -alpha * ridges[which], &self.direction[which]);
            }
            self.next_direction();
        }
    }

    /// The next direction, conjugate to those before.
    fn next_direction(&mut self) {
        let preconditioned = self.metric.solve(&self.residual);
        let rz = along(&self.residual, &preconditioned);
        let beta = rz / self.rz;
        for (direction, z) in self.direction.iter_mut().zip(preconditioned) {
            let pairs = direction.iter_mut().zip(z);
            pairs.for_each(|(direction, z)| *direction = z + beta as f32 * *direction);
        }
        self.rz = rz;
        self.packed = packed(&self.layer, &self.direction, self.gated.inputs);
        self.begin();
    }

    fn begin(&mut self) {
        let (units, inputs) = (self.gated.units(), self.gated.inputs);
        (self.curvature, self.pieces, self.tokens, self.measured) = (0.0, 0, 0, 0);
        self.hessian_times_direction =
            (self.left > 1).then(|| [(); 2].map(|()| Cross::rectangle(units, inputs)));
    }

    /// The layer, moved.
    pub fn into_gated(self) -> Gated {
        self.gated
    }
}

fn packed(layer: &Jacobian, direction: &[Vec<f32>; 2], inputs: usize) -> [Packed; 2] {
    direction.each_ref().map(|direction| layer.ready.gemm.packed(direction, inputs))
}

fn along(a: &[Vec<f32>; 2], b: &[Vec<f32>; 2]) -> f64 {
    dot(&a[0], &b[0]) + dot(&a[1], &b[1])
}

fn add(sums: &mut [f32], factor: f64, terms: &[f32]) {
    let parts = sums.par_chunks_mut(PART).zip(terms.par_chunks(PART));
    parts.for_each(|(sums, terms)| {
        let pairs = sums.iter_mut().zip(terms);
        pairs.for_each(|(sum, term)| *sum += (factor * f64::from(*term)) as f32);
    });
}

/// Tokens for each input that say well enough how a layer bends: measured, half as many do not.
const ENOUGH: usize = 64;

/// Every so many pieces of tokens say how far the last step goes.
const MEASURED: usize = 4;
