//! Moving a gated layer, against its derivation in f64 with derivatives by differences.

use crate::inputs::{gemm, normal};
use crate::twin::{Matrix, solved};
use llmopt_linalg::vector;
use llmopt_prune::{Gated, Tangent};

/// A layer with tokens, and the outputs that another layer gives for them.
struct Case {
    gated: Gated,
    inputs: Vec<f32>,
    targets: Vec<f32>,
}

impl Case {
    fn new(seed: u64, tokens: usize, [units, inputs, outputs]: [usize; 3]) -> Self {
        let mut normal = normal(seed);
        let mut some = |count: usize, size: f64| -> Vec<f32> {
            (0..count).map(|_| (size * normal()) as f32).collect()
        };
        let teacher = Gated {
            gate: some(units * inputs, 0.6),
            up: some(units * inputs, 0.6),
            down: some(outputs * units, 0.5),
            gate_bias: Some(some(units, 0.3)),
            up_bias: Some(some(units, 0.3)),
            inputs,
            slopes: vector::silu_slopes,
        };
        let mut gated = teacher.clone();
        let drift = some(2 * units * inputs, 0.1);
        let weights = gated.gate.iter_mut().chain(&mut gated.up);
        weights.zip(drift).for_each(|(weight, drift)| *weight += drift);
        let seen = some(tokens * inputs, 1.0);
        let noise = some(tokens * outputs, 0.05);
        let given = seen.chunks(inputs).flat_map(|row| outputs_of(&wide(&teacher), row));
        let targets = given.zip(noise).map(|(value, noise)| (value + f64::from(noise)) as f32);
        Self { targets: targets.collect(), gated, inputs: seen }
    }

    fn moved(&self, steps: usize) -> Gated {
        let mut tangent = Tangent::new(gemm(), self.gated.clone());
        tangent.add(&self.inputs, &self.targets);
        let mut descent = tangent.descent(steps).expect("finite sums");
        while descent.is_open() {
            descent.add(&self.inputs);
            descent.step();
        }
        descent.into_gated()
    }

    /// The squared error of a layer's outputs.
    fn error(&self, layer: &Wide) -> f64 {
        let (inputs, outputs) = (layer.inputs, self.gated.outputs());
        let tokens = self.inputs.chunks(inputs).zip(self.targets.chunks(outputs));
        let residual = tokens.flat_map(|(row, targets)| {
            let given = outputs_of(layer, row);
            given.into_iter().zip(targets).map(|(given, targets)| f64::from(*targets) - given)
        });
        residual.map(|residual| residual * residual).sum()
    }

    /// For every output of every token, its derivatives to all gates and then all ups, and what it lacks.
    fn jacobian(&self) -> Vec<(Vec<f64>, f64)> {
        let layer = wide(&self.gated);
        let (inputs, outputs, step) = (layer.inputs, self.gated.outputs(), 1e-5);
        let mut rows = Vec::new();
        for (row, targets) in self.inputs.chunks(inputs).zip(self.targets.chunks(outputs)) {
            let weights = layer.gate.len() + layer.up.len();
            let mut derivatives = vec![vec![0.0; weights]; outputs];
            for weight in 0..weights {
                let shifted = |step: f64| {
                    let mut layer = layer.clone();
                    match weight.checked_sub(layer.gate.len()) {
                        None => layer.gate[weight] += step,
                        Some(place) => layer.up[place] += step,
                    }
                    outputs_of(&layer, row)
                };
                let (above, below) = (shifted(step), shifted(-step));
                for (output, derivatives) in derivatives.iter_mut().enumerate() {
                    derivatives[weight] = (above[output] - below[output]) / (2.0 * step);
                }
            }
            let residual =
                targets.iter().zip(outputs_of(&layer, row)).map(|(a, y)| f64::from(*a) - y);
            rows.extend(derivatives.into_iter().zip(residual));
        }
        rows
    }
}

/// A layer in f64.
#[derive(Clone)]
struct Wide {
    gate: Vec<f64>,
    up: Vec<f64>,
    down: Vec<f64>,
    gate_bias: Vec<f64>,
    up_bias: Vec<f64>,
    inputs: usize,
}

fn wide(gated: &Gated) -> Wide {
    let to_f64 = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect();
    Wide {
        gate: to_f64(&gated.gate),
        up: to_f64(&gated.up),
        down: to_f64(&gated.down),
        gate_bias: to_f64(gated.gate_bias.as_deref().unwrap_or_default()),
        up_bias: to_f64(gated.up_bias.as_deref().unwrap_or_default()),
        inputs: gated.inputs,
    }
}

fn projected(weights: &[f64], bias: &[f64], row: &[f32]) -> Vec<f64> {
    let rows = weights.chunks(row.len()).zip(bias);
    rows.map(|(weights, bias)| {
        bias + weights.iter().zip(row).map(|(w, x)| w * f64::from(*x)).sum::<f64>()
    })
    .collect()
}

/// Gates and ups of a token.
fn brackets(layer: &Wide, row: &[f32]) -> (Vec<f64>, Vec<f64>) {
    (projected(&layer.gate, &layer.gate_bias, row), projected(&layer.up, &layer.up_bias, row))
}

fn outputs_of(layer: &Wide, row: &[f32]) -> Vec<f64> {
    let (gate, up) = brackets(layer, row);
    let units: Vec<f64> = gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
    layer.down.chunks(units.len()).map(|d| d.iter().zip(&units).map(|(d, z)| d * z).sum()).collect()
}

/// The solution of a symmetric system.
fn solution(matrix: Matrix, right: Vec<f64>) -> Vec<f64> {
    solved(matrix, vec![right]).remove(0)
}

/// What bends the gate and the up of each unit, per token, and the curvature over inputs.
struct Curvature {
    units: [Vec<f64>; 2],
    inputs: Matrix,
}

impl Curvature {
    fn of(case: &Case) -> Self {
        let layer = wide(&case.gated);
        let (units, width, outputs) = (case.gated.units(), layer.inputs, case.gated.outputs());
        let rows: Vec<&[f32]> = case.inputs.chunks(width).collect();
        let slopes = |row: &[f32]| -> [Vec<f64>; 2] {
            let (gate, up) = brackets(&layer, row);
            let share = |g: f64| 1.0 / (1.0 + (-g).exp());
            let slope = |g: f64| share(g) * (1.0 + g * (1.0 - share(g)));
            let with_gate = gate.iter().zip(&up).map(|(&g, u)| slope(g) * u).collect();
            [with_gate, gate.iter().map(|&g| g * share(g)).collect()]
        };
        let slopes: Vec<[Vec<f64>; 2]> = rows.iter().map(|row| slopes(row)).collect();
        let square = |order: usize, of: &dyn Fn(usize, usize) -> f64| -> Matrix {
            (0..order).map(|i| (0..order).map(|j| of(i, j)).collect()).collect()
        };
        let over_units = |which: usize| {
            let of = |unit: usize| {
                let down: f64 = (0..outputs).map(|o| layer.down[o * units + unit].powi(2)).sum();
                let sum: f64 = slopes.iter().map(|slopes| slopes[which][unit].powi(2)).sum();
                down * sum / slopes.len() as f64
            };
            (0..units).map(of).collect()
        };
        let inputs = square(width, &|a, b| {
            rows.iter().map(|row| f64::from(row[a]) * f64::from(row[b])).sum()
        });
        Self { units: [over_units(0), over_units(1)], inputs }
    }

    /// What is added to the true curvature of gates or ups.
    fn ridge(&self, which: usize) -> f64 {
        let units = &self.units[which];
        1e-3 * units.iter().sum::<f64>() / units.len() as f64 * mean(&self.inputs)
    }

    /// The inverse times a matrix `[units, inputs]`.
    fn solved(&self, which: usize, rows: &[f64]) -> Vec<f64> {
        let inputs = damped(&self.inputs, 1e-4);
        let bends = &self.units[which];
        let least = 1e-2 * bends.iter().sum::<f64>() / bends.len() as f64;
        let rows = rows.chunks(inputs.len()).zip(bends);
        rows.flat_map(|(row, curvature)| {
            let solved = solution(inputs.clone(), row.to_vec());
            solved.into_iter().map(move |value| value / (curvature + least))
        })
        .collect()
    }
}

fn mean(matrix: &[Vec<f64>]) -> f64 {
    (0..matrix.len()).map(|i| matrix[i][i]).sum::<f64>() / matrix.len() as f64
}

fn damped(matrix: &[Vec<f64>], share: f64) -> Matrix {
    let mut damped = matrix.to_vec();
    (0..damped.len()).for_each(|i| damped[i][i] += share * mean(matrix));
    damped
}

fn gradient(jacobian: &[(Vec<f64>, f64)]) -> Vec<f64> {
    let weights = jacobian[0].0.len();
    (0..weights).map(|w| jacobian.iter().map(|(row, residual)| row[w] * residual).sum()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What was added to gates and ups.
fn movement(case: &Case, moved: &Gated) -> Vec<f64> {
    let (before, after) = (wide(&case.gated), wide(moved));
    let before = before.gate.into_iter().chain(before.up);
    after
        .gate
        .into_iter()
        .chain(after.up)
        .zip(before)
        .map(|(after, before)| after - before)
        .collect()
}

#[test]
fn one_step_goes_down_the_preconditioned_gradient_to_the_lowest_point() {
    for (seed, tokens, sizes) in [(1, 70, [5, 7, 3]), (2, 530, [3, 5, 4])] {
        let case = Case::new(seed, tokens, sizes);
        let (jacobian, curvature) = (case.jacobian(), Curvature::of(&case));
        let gradient = gradient(&jacobian);
        let half = gradient.len() / 2;
        let mut direction = curvature.solved(0, &gradient[..half]);
        direction.extend(curvature.solved(1, &gradient[half..]));
        // How far to go is measured on every fourth piece: here, the first.
        let measured = tokens.min(Tangent::PIECE);
        let rises = jacobian[..measured * sizes[2]].iter();
        let rise: f64 = rises.map(|(row, _)| dot(row, &direction).powi(2)).sum();
        let rise = rise * tokens as f64 / measured as f64;
        let ridges = [0, 1].map(|which| curvature.ridge(which));
        let damping = ridges[0] * dot(&direction[..half], &direction[..half])
            + ridges[1] * dot(&direction[half..], &direction[half..]);
        let length = dot(&gradient, &direction) / (rise + damping);
        let found = movement(&case, &case.moved(1));
        let size = dot(&direction, &direction).sqrt() * length;
        let apart: Vec<f64> = found.iter().zip(&direction).map(|(f, d)| f - length * d).collect();
        let error = dot(&apart, &apart).sqrt();
        assert!(error < 2e-4 * size, "{sizes:?}: {error} of {size}");
    }
}

#[test]
fn a_step_is_worth_eight_tokens_of_each_input() {
    let case = Case::new(6, 81, [2, 5, 3]);
    for (tokens, worthwhile) in [(1, 1), (40, 1), (79, 1), (80, 2), (81, 2)] {
        let mut tangent = Tangent::new(gemm(), case.gated.clone());
        tangent.add(&case.inputs[..tokens * 5], &case.targets[..tokens * 3]);
        assert_eq!(tangent.worthwhile(7), worthwhile);
        assert_eq!(tangent.worthwhile(0), 0);
    }
}

#[test]
fn many_steps_solve_the_damped_normal_equations() {
    // With many tokens for each input every other piece bends the layer.
    for (seed, tokens, every) in [(3, 90, 1), (7, 1100, 2)] {
        let case = Case::new(seed, tokens, [4, 5, 3]);
        let (jacobian, curvature) = (case.jacobian(), Curvature::of(&case));
        let gradient = gradient(&jacobian);
        let (weights, half) = (gradient.len(), gradient.len() / 2);
        let rows: Vec<&Vec<f64>> = jacobian.iter().map(|(row, _)| row).collect();
        let pieces = rows.chunks(Tangent::PIECE * case.gated.outputs()).step_by(every);
        let bending: Vec<&Vec<f64>> = pieces.flatten().copied().collect();
        let all = rows.len() as f64 / bending.len() as f64;
        let ridge = |weight: usize| curvature.ridge(usize::from(weight >= half));
        let normal = |i: usize, j: usize| -> f64 {
            let product: f64 = bending.iter().map(|row| row[i] * row[j]).sum();
            all * product + if i == j { ridge(i) } else { 0.0 }
        };
        let matrix: Matrix =
            (0..weights).map(|i| (0..weights).map(|j| normal(i, j)).collect()).collect();
        let optimum = solution(matrix.clone(), gradient.clone());
        // What the damped squares lose by a movement.
        let decrease = |d: &[f64]| {
            let curvature: f64 = (0..weights).map(|i| d[i] * dot(&matrix[i], d)).sum();
            2.0 * dot(&gradient, d) - curvature
        };
        let best = decrease(&optimum);
        let decreases =
            [1, 3, 10, 40].map(|steps| decrease(&movement(&case, &case.moved(steps))) / best);
        assert!(decreases[0] > 0.3 && decreases[..3].is_sorted(), "{decreases:?}");
        assert!(decreases[3] > 0.9999 && decreases[3] < 1.0001, "{decreases:?}");
    }
}

#[test]
fn the_true_error_falls_and_threads_do_not_show() {
    let case = Case::new(4, 700, [13, 9, 6]);
    let mut tangent = Tangent::new(gemm(), case.gated.clone());
    tangent.add(&case.inputs, &case.targets);
    let energy: f64 = case.targets.iter().map(|&targets| f64::from(targets).powi(2)).sum();
    let share = case.error(&wide(&case.gated)) / energy;
    assert!((tangent.error() - share).abs() < 1e-5 * share, "{} and not {share}", tangent.error());
    let errors: Vec<f64> = [0, 1, 2, 4]
        .map(|steps| match steps {
            0 => case.error(&wide(&case.gated)),
            steps => case.error(&wide(&case.moved(steps))),
        })
        .to_vec();
    assert!(errors[1] < 0.7 * errors[0] && errors[3] < errors[1], "{errors:?}");
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let moved = pool.install(|| case.moved(2));
        (moved.gate, moved.up)
    };
    assert!(on(1) == on(3));
}

#[test]
fn a_layer_that_nothing_passes_stays_as_it_is() {
    let mut case = Case::new(5, 20, [4, 3, 2]);
    case.inputs.fill(0.0);
    case.gated.gate_bias = None;
    case.gated.up_bias = None;
    let moved = case.moved(2);
    assert!(moved.gate == case.gated.gate && moved.up == case.gated.up);
}

#[test]
fn what_is_not_finite_is_refused() {
    let mut case = Case::new(6, 20, [4, 3, 2]);
    case.targets[3] = f32::NAN;
    let mut tangent = Tangent::new(gemm(), case.gated.clone());
    tangent.add(&case.inputs, &case.targets);
    assert!(tangent.descent(1).is_err());
}
