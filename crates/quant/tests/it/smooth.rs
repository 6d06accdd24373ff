//! Smoothing against loops from the paper, and functions that it must not change.

use crate::weights::{Source, uniform};
use llmopt_quant::{
    add_column_squares, divide_gains, divide_rows, least_noise_scales, multiply_columns,
    raise_column_maxima, smoothing_scales,
};
use llmopt_tensor::{Dtype, rounded};

/// The scales of the paper (equation 4), channel by channel from tokens and weights.
fn twin(tokens: &[Vec<f32>], matrices: &[Vec<Vec<f32>>], strength: f64) -> Vec<f64> {
    let mut scales = Vec::new();
    for channel in 0..tokens[0].len() {
        let mut input: f64 = 0.0;
        for token in tokens {
            input = input.max(f64::from(token[channel]).abs());
        }
        let mut weight: f64 = 0.0;
        for row in matrices.iter().flatten() {
            weight = weight.max(f64::from(row[channel]).abs());
        }
        let scale = input.powf(strength) / weight.powf(1.0 - strength);
        scales.push(if input == 0.0 || weight == 0.0 { 1.0 } else { scale });
    }
    scales
}

/// Rows of numbers about zero whose columns are of sizes of their own; every seventh is zero.
fn rows(seed: u64, count: usize, columns: usize, spread: f64) -> Vec<Vec<f32>> {
    let mut uniform = uniform(seed);
    let sizes: Vec<f64> = (0..columns)
        .map(|column| if column % 7 == 6 { 0.0 } else { ((uniform() - 0.5) * spread).exp() })
        .collect();
    let row = |_| sizes.iter().map(|size| ((uniform() - 0.5) * size) as f32).collect();
    (0..count).map(row).collect()
}

fn maxima(rows: &[Vec<f32>]) -> Vec<f32> {
    let mut maxima = vec![0.0; rows[0].len()];
    raise_column_maxima(&mut maxima, &rows.concat());
    maxima
}

#[test]
fn scales_are_those_of_the_paper() {
    for (seed, columns, strength) in [(1, 131, 0.5), (2, 64, 0.8), (3, 77, 0.0), (4, 50, 1.0)] {
        // Inputs and weights are zero in columns of their own.
        let tokens = rows(seed, 19, columns, 12.0);
        let mut matrices = vec![rows(seed + 10, 5, columns, 3.0), rows(seed + 20, 8, columns, 3.0)];
        matrices.iter_mut().flatten().for_each(|row| row.rotate_left(3));
        let mut columns = vec![0.0; columns];
        for matrix in &matrices {
            raise_column_maxima(&mut columns, &matrix.concat());
        }
        let found = smoothing_scales(&maxima(&tokens), &columns, strength);
        let expected = twin(&tokens, &matrices, strength);
        for (&found, &expected) in found.iter().zip(&expected) {
            let error = (f64::from(found) / expected - 1.0).abs();
            assert!(error <= 1.0 / f64::from(1 << 24), "{found}, expected {expected}");
        }
        assert!(found.iter().any(|&scale| scale != 1.0));
    }
}

/// What `least_noise_scales` makes least: the mean of the fourth power of the 4-norm of divided
/// inputs, times the square of what multiplied weights add up to. A common factor of all scales does
/// not change it.
fn noise(tokens: &[Vec<f32>], weights: &[Vec<f32>], scales: &[f64]) -> f64 {
    let mut inputs = 0.0;
    for token in tokens {
        for (&x, scale) in token.iter().zip(scales) {
            inputs += (f64::from(x) / scale).powi(4);
        }
    }
    let mut outputs = 0.0;
    for row in weights {
        for (&weight, scale) in row.iter().zip(scales) {
            outputs += (f64::from(weight) * scale).powi(2);
        }
    }
    inputs * outputs * outputs
}

#[test]
fn no_other_scales_leave_less_noise() {
    let columns = 40;
    let (tokens, weights) = (rows(1, 30, columns, 5.0), rows(2, 9, columns, 3.0));
    let mut fourths = vec![0.0; columns];
    for token in &tokens {
        fourths.iter_mut().zip(token).for_each(|(sum, &x)| *sum += f64::from(x).powi(4));
    }
    let mut squares = vec![0.0; columns];
    add_column_squares(&mut squares, &weights.concat());
    let scales = least_noise_scales(&fourths, tokens.len() as u64, &squares);
    let scales: Vec<f64> = scales.iter().map(|&scale| f64::from(scale)).collect();
    let least = noise(&tokens, &weights, &scales);
    assert!(least < 0.5 * noise(&tokens, &weights, &vec![1.0; columns]));
    for channel in 0..columns {
        for factor in [0.8, 0.99, 1.01, 1.25] {
            let mut other = scales.clone();
            other[channel] *= factor;
            let other = noise(&tokens, &weights, &other);
            let is_dead = channel % 7 == 6;
            assert!(if is_dead { other == least } else { other > least }, "{channel} {factor}");
        }
    }
    let dead = least_noise_scales(&[0.0, 1.0, f64::NAN, f64::INFINITY], 2, &[1.0, 0.0, 1.0, 1.0]);
    assert_eq!(dead, [1.0; 4]);
}

#[test]
fn channels_without_maxima_have_a_scale_of_one() {
    let odd = [0.0, -0.0, f32::NAN, f32::INFINITY];
    let ones = [1.0; 4];
    for (inputs, columns) in [(odd, [4.0; 4]), ([4.0; 4], odd), (odd, odd)] {
        assert_eq!(smoothing_scales(&inputs, &columns, 0.8), ones);
    }
    // What is far from any model stays in bounds.
    let far = smoothing_scales(&[1e-38, 1e38], &[1e38, 1e-38], 0.5);
    assert_eq!(far, [1.0 / 65_536.0, 65_536.0]);
}

/// A norm's gains, gate and up behind it, down behind these.
struct Mlp {
    gains: Vec<f32>,
    from_one: bool,
    gate: Vec<f32>,
    up: Vec<f32>,
    up_bias: Vec<f32>,
    down: Vec<f32>,
}

const HIDDEN: usize = 24;
const INNER: usize = 40;

fn stored(values: impl IntoIterator<Item = f32>) -> Vec<f32> {
    values.into_iter().map(|value| rounded(Dtype::BF16, value)).collect()
}

/// `rows` products of inputs with the rows of a matrix, summed in f32 in order.
fn product(weights: &[f32], inputs: &[f32]) -> Vec<f32> {
    let row = |row: &[f32]| row.iter().zip(inputs).map(|(w, x)| w * x).sum();
    weights.chunks(inputs.len()).map(row).collect()
}

impl Mlp {
    fn new(from_one: bool) -> Self {
        let mut uniform = uniform(5);
        let mut gains = || stored((0..HIDDEN).map(|_| (uniform() * 1.8 - 0.9) as f32));
        let weights = stored(Source::Normal.weights(3 * HIDDEN * INNER));
        let (gate, rest) = weights.split_at(HIDDEN * INNER);
        let (up, down) = rest.split_at(HIDDEN * INNER);
        let up_bias = stored(Source::Laplace.weights(INNER));
        let [gate, up, down] = [gate, up, down].map(<[f32]>::to_vec);
        Self { gains: gains(), from_one, gate, up, up_bias, down }
    }

    /// What the norm gives and what down reads, then the outputs.
    fn run(&self, hidden: &[f32]) -> [Vec<f32>; 3] {
        let offset = if self.from_one { 1.0 } else { 0.0 };
        let inputs: Vec<f32> =
            hidden.iter().zip(&self.gains).map(|(x, gain)| x * (gain + offset)).collect();
        let up = product(&self.up, &inputs);
        let gate = product(&self.gate, &inputs);
        let up = up.iter().zip(&self.up_bias).map(|(up, bias)| up + bias);
        let inner: Vec<f32> =
            gate.iter().zip(up).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect();
        let outputs = product(&self.down, &inner);
        [inputs, inner, outputs]
    }

    /// The same function with the norm's outputs and down's inputs smoothed, and the scales.
    fn smoothed(&self, tokens: &[Vec<f32>], strength: f64) -> (Self, [Vec<f32>; 2]) {
        let mut seen = [vec![0.0; HIDDEN], vec![0.0; INNER]];
        for token in tokens {
            let [inputs, inner, _] = self.run(token);
            raise_column_maxima(&mut seen[0], &inputs);
            raise_column_maxima(&mut seen[1], &inner);
        }
        let mut columns = [vec![0.0; HIDDEN], vec![0.0; INNER]];
        raise_column_maxima(&mut columns[0], &self.gate);
        raise_column_maxima(&mut columns[0], &self.up);
        raise_column_maxima(&mut columns[1], &self.down);
        let [mut norm, inner] =
            [0, 1].map(|site| smoothing_scales(&seen[site], &columns[site], strength));
        let Self { mut gains, from_one, mut gate, mut up, mut up_bias, mut down } = self.copied();
        divide_gains(&mut gains, from_one, &mut norm, Dtype::BF16);
        multiply_columns(&mut gate, &norm);
        multiply_columns(&mut up, &norm);
        divide_rows(&mut up, &inner);
        divide_rows(&mut up_bias, &inner);
        multiply_columns(&mut down, &inner);
        (Self { gains, from_one, gate, up, up_bias, down }, [norm, inner])
    }

    fn copied(&self) -> Self {
        let Self { gains, from_one, gate, up, up_bias, down } = self;
        let [gains, gate, up, up_bias, down] = [gains, gate, up, up_bias, down].map(Clone::clone);
        Self { gains, from_one: *from_one, gate, up, up_bias, down }
    }
}

fn tokens() -> Vec<Vec<f32>> {
    let mut tokens = rows(8, 50, HIDDEN, 6.0);
    tokens.iter_mut().for_each(|token| token[3] *= 1000.0);
    tokens
}

/// The greatest distance, relative to the greatest magnitude.
fn relative(found: &[f32], expected: &[f32]) -> f32 {
    let most = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, f32::max);
    let distances = &mut found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    most(distances) / most(&mut expected.iter().map(|x| x.abs()))
}

#[test]
fn the_smoothed_function_is_the_same() {
    for (from_one, strength) in [(false, 0.5), (false, 0.8), (true, 0.5), (true, 0.8)] {
        let mlp = Mlp::new(from_one);
        let (smoothed, scales) = mlp.smoothed(&tokens(), strength);
        assert_eq!(smoothed.gains, stored(smoothed.gains.iter().copied()));
        for token in tokens() {
            let ([before @ .., expected], [after @ .., found]) =
                (mlp.run(&token), smoothed.run(&token));
            for ((before, after), scales) in before.iter().zip(&after).zip(&scales) {
                let expected: Vec<f32> = before.iter().zip(scales).map(|(x, s)| x / s).collect();
                let error = relative(after, &expected);
                assert!(error < 1e-6, "inputs divided by scales: {error}");
            }
            let error = relative(&found, &expected);
            assert!(error < 1e-6, "{from_one} {strength}: {error}");
        }
        let changed = scales.iter().flatten().filter(|&&scale| (scale - 1.0).abs() > 0.1);
        assert!(changed.count() > 40);
    }
}

#[test]
fn gains_that_cannot_be_divided_stay() {
    let check = |weight: f32, from_one, scale: f32, expected: (f32, f32)| {
        let (mut weights, mut scales) = ([weight], [scale]);
        divide_gains(&mut weights, from_one, &mut scales, Dtype::BF16);
        assert_eq!((weights[0], scales[0]), expected, "{weight} / {scale}");
    };
    check(0.75, false, 4.0, (0.1875, 4.0));
    check(-0.75, false, 0.5, (-1.5, 0.5));
    check(0.0, false, 4.0, (0.0, 1.0));
    check(-1.0, true, 4.0, (-1.0, 1.0));
    check(0.5, true, 0.5, (2.0, 0.5));
    // 1.5 / 4096 - 1 is nearest to -1 in BF16: the gain would be zero.
    check(0.5, true, 4096.0, (0.5, 1.0));
    // 1.25 / 128 - 1 is -253.5 / 256, to even -254 / 256: a gain of 2 / 256.
    check(0.25, true, 128.0, (-0.992_187_5, 160.0));
}
