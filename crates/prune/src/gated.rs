//! A gated layer, and what it makes of its inputs.

use llmopt_linalg::{Gemm, Packed};
use rayon::prelude::*;

/// Writes an activation's values, and its derivatives there; such as [`llmopt_linalg::vector::silu_slopes`].
pub type Slopes = fn(&[f32], &mut [f32], &mut [f32]);

/// `D (f(G x + b) * (U x + c))` with an element for each unit in the brackets.
#[derive(Clone, Debug)]
pub struct Gated {
    /// G, `[units, inputs]`, row-major.
    pub gate: Vec<f32>,
    /// U, `[units, inputs]`, row-major.
    pub up: Vec<f32>,
    /// D, `[outputs, units]`, row-major.
    pub down: Vec<f32>,
    /// b, one for each unit.
    pub gate_bias: Option<Vec<f32>>,
    /// c, one for each unit.
    pub up_bias: Option<Vec<f32>>,
    /// Length of an input.
    pub inputs: usize,
    /// f.
    pub slopes: Slopes,
}

impl Gated {
    /// How many units.
    pub fn units(&self) -> usize {
        self.gate.len() / self.inputs.max(1)
    }

    /// Length of an output.
    pub fn outputs(&self) -> usize {
        self.down.len() / self.units().max(1)
    }

    /// The layer, made ready to be run. Allocates [`Ready::bytes`].
    pub fn ready(&self, gemm: Gemm) -> Ready {
        assert!(self.gate.len() == self.up.len() && self.gate.len() == self.units() * self.inputs);
        assert_eq!(self.down.len(), self.outputs() * self.units());
        Ready {
            gemm,
            gate: gemm.packed(&self.gate, self.inputs),
            up: gemm.packed(&self.up, self.inputs),
            down: gemm.packed(&self.down, self.units()),
            gate_bias: self.gate_bias.clone(),
            up_bias: self.up_bias.clone(),
            slopes: self.slopes,
        }
    }
}

/// A gated layer whose matrices are packed.
///
/// Work is spread over the rayon pool in which it is called. Results do not depend on the number of
/// threads.
pub struct Ready {
    pub(crate) gemm: Gemm,
    gate: Packed,
    up: Packed,
    down: Packed,
    gate_bias: Option<Vec<f32>>,
    up_bias: Option<Vec<f32>>,
    slopes: Slopes,
}

/// What the units are at some inputs.
pub(crate) struct Values {
    /// `f(g) * u`, what the units give, `[count, units]`.
    pub(crate) units: Vec<f32>,
    pub(crate) rises: Rises,
}

/// By how much the units rise, `[count, units]` each.
pub(crate) struct Rises {
    /// With the gate: `f'(g) * u`.
    pub(crate) with_gate: Vec<f32>,
    /// With `u`: `f(g)`.
    pub(crate) with_up: Vec<f32>,
}

impl Ready {
    /// The memory that a layer takes when it is made ready on so many threads.
    pub fn bytes(gemm: Gemm, units: usize, inputs: usize, outputs: usize, threads: usize) -> u64 {
        let packed = 2 * gemm.packed_bytes(units, inputs) + gemm.packed_bytes(outputs, units);
        let filling = gemm.filled_bytes(0, inputs.max(units), threads);
        (packed + filling + 2 * units * size_of::<f32>()) as u64
    }

    /// What the units give for rows of inputs, `[count, units]`.
    pub fn units(&self, inputs: &[f32]) -> Vec<f32> {
        self.values(inputs).units
    }

    /// The outputs for what the units give, `[count, outputs]`.
    pub fn outputs(&self, units: &[f32]) -> Vec<f32> {
        product(self.gemm, units, &self.down)
    }

    /// The most memory that [`Ready::units`] and [`Ready::outputs`] take for so many inputs, results
    /// included.
    pub fn running_bytes(
        gemm: Gemm,
        count: usize,
        [units, inputs, outputs]: [usize; 3],
        threads: usize,
    ) -> u64 {
        let values = count * (4 * units).max(units + outputs) * size_of::<f32>();
        (values + gemm.products_bytes(inputs.max(units), threads)) as u64
    }

    pub(crate) fn values(&self, inputs: &[f32]) -> Values {
        let mut gate = product(self.gemm, inputs, &self.gate);
        let mut up = product(self.gemm, inputs, &self.up);
        add_bias(&mut gate, self.gate_bias.as_deref());
        add_bias(&mut up, self.up_bias.as_deref());
        let (mut with_up, mut with_gate) = (vec![0.0; gate.len()], vec![0.0; gate.len()]);
        let parts = gate.par_chunks_mut(PART).zip(up.par_chunks(PART));
        let parts = parts.zip(with_up.par_chunks_mut(PART).zip(with_gate.par_chunks_mut(PART)));
        parts.for_each(|((gate, up), (values, slopes))| {
            (self.slopes)(gate, values, slopes);
            for ((unit, up), (value, slope)) in
                gate.iter_mut().zip(up).zip(values.iter().zip(slopes))
            {
                *unit = value * up;
                *slope *= up;
            }
        });
        Values { units: gate, rises: Rises { with_gate, with_up } }
    }
}

/// `rows * weights^T`.
pub(crate) fn product(gemm: Gemm, rows: &[f32], weights: &Packed) -> Vec<f32> {
    let count = rows.len() / weights.columns().max(1);
    let mut out = vec![0.0; count * weights.rows()];
    gemm.products(rows, weights, &mut out);
    out
}

fn add_bias(values: &mut [f32], bias: Option<&[f32]>) {
    let Some(bias) = bias.filter(|bias| !bias.is_empty()) else { return };
    for row in values.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
    }
}

/// Elements that a thread takes at once.
pub(crate) const PART: usize = 1 << 14;
