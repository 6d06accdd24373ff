//! Smoothing: scales that move the range of inputs into weights, and leave every output as it was.

use llmopt_tensor::{Dtype, rounded};

/// The scale of each channel, `s_j = max|x_j|^a / max|W_j|^(1 - a)` with the strength a (SmoothQuant,
/// Xiao and others 2022, 2211.10438, equation 4). Inputs are divided by it, columns of all matrices
/// that read them are multiplied by it. A strength of one gives all inputs the same maximum, zero does
/// so with the columns of weights.
///
/// Powers of two would cost weights that are stored in BF16 no bit. On llama-8m they give up half of
/// what smoothing gains, which is far more than the rounding of weights costs.
///
/// Channels that were never used, by inputs or by weights, and those whose maxima are no numbers have
/// a scale of one. The others lie between 2^-16 and 2^16.
pub fn smoothing_scales(input_maxima: &[f32], column_maxima: &[f32], strength: f64) -> Vec<f32> {
    assert_eq!(input_maxima.len(), column_maxima.len());
    let is_used = |maximum: f32| maximum > 0.0 && maximum.is_finite();
    let scale = |(&input, &column): (&f32, &f32)| {
        if !is_used(input) || !is_used(column) {
            return 1.0;
        }
        let divided = libm::pow(f64::from(input), strength);
        let scale = divided / libm::pow(f64::from(column), 1.0 - strength);
        bounded(scale)
    };
    input_maxima.iter().zip(column_maxima).map(scale).collect()
}

/// The scale of each channel that makes the least of the noise that rounding each token's inputs to
/// the same number of levels adds to outputs, `s_j = (E[x_j^4] / |W_j|^2)^(1/6)`: no strength to choose.
/// `fourths` are sums of fourth powers of inputs over so many tokens, `column_squares` those of squares
/// over the rows of all matrices that read them.
///
/// A token's step is its greatest `|x_j / s_j|` over some constant, and the noise of its outputs the
/// step's square times `sum s_j^2 |W_j|^2`. With a norm `(sum |x_j / s_j|^p)^(1/p)`, of which the
/// maximum is the limit, in its place, the expectation of its p-th power is least, for a given sum, at
/// `s_j^(p + 2) = E|x_j|^p / |W_j|^2` up to a common factor. That is the form of SmoothQuant's scales
/// with strength `p / (p + 2)`, but rare tokens count by how rare they are. Of p from 2 to 16 and the
/// maximum, 4 left the least KL divergence on llama-8m.
///
/// Which channels have a scale of one, and the bounds of the others, are those of
/// [`smoothing_scales`].
pub fn least_noise_scales(fourths: &[f64], tokens: u64, column_squares: &[f64]) -> Vec<f32> {
    assert_eq!(fourths.len(), column_squares.len());
    let scale = |(&fourth, &square): (&f64, &f64)| {
        bounded(libm::pow(fourth / tokens as f64 / square, 1.0 / 6.0))
    };
    let is_used = |sum: f64| sum > 0.0 && sum.is_finite();
    let channels = fourths.iter().zip(column_squares);
    channels
        .map(|both| if is_used(*both.0) && is_used(*both.1) { scale(both) } else { 1.0 })
        .collect()
}

/// Adds the squares of each column to its sum. `weights` are `[rows, columns]`, row-major, with as many
/// columns as there are sums.
pub fn add_column_squares(sums: &mut [f64], weights: &[f32]) {
    for row in weights.chunks_exact(sums.len().max(1)) {
        let squares = row.iter().map(|&weight| f64::from(weight) * f64::from(weight));
        sums.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
    }
}

/// Raises the maximum of each column to the greatest magnitude in it. `weights` are
/// `[rows, columns]`, row-major, with as many columns as there are maxima.
pub fn raise_column_maxima(maxima: &mut [f32], weights: &[f32]) {
    for row in weights.chunks_exact(maxima.len().max(1)) {
        maxima.iter_mut().zip(row).for_each(|(most, weight)| *most = most.max(weight.abs()));
    }
}

/// Multiplies each column of a matrix that reads smoothed inputs by its scale. `weights` are
/// `[rows, columns]`, row-major.
pub fn multiply_columns(weights: &mut [f32], scales: &[f32]) {
    for row in weights.chunks_exact_mut(scales.len().max(1)) {
        row.iter_mut().zip(scales).for_each(|(weight, scale)| *weight *= scale);
    }
}

/// Divides each row of a matrix that makes inputs by its scale. `weights` are `[rows, columns]`,
/// row-major, with a row for each scale; a bias is a matrix of one column.
pub fn divide_rows(weights: &mut [f32], scales: &[f32]) {
    let columns = weights.len() / scales.len().max(1);
    assert_eq!(weights.len(), columns * scales.len());
    for (row, scale) in weights.chunks_exact_mut(columns.max(1)).zip(scales) {
        row.iter_mut().for_each(|weight| *weight /= scale);
    }
}

/// Divides the gains of a norm by the scales, and rounds `weights` to the `dtype` in which they are
/// stored. `from_one` says that a gain is one plus the weight.
///
/// What is stored is not the gain divided by the scale, and near a gain of zero that counts from one
/// it is far from it. So each scale becomes what its gain was in fact divided by, which is what the
/// readers' columns have to be multiplied by: only these are rounded then, and the function stays. A
/// gain that would round to zero stays, with a scale of one.
pub fn divide_gains(weights: &mut [f32], from_one: bool, scales: &mut [f32], dtype: Dtype) {
    assert_eq!(weights.len(), scales.len());
    let offset = if from_one { 1.0 } else { 0.0 };
    for (weight, scale) in weights.iter_mut().zip(scales) {
        let gain = f64::from(*weight) + offset;
        let divided = rounded(dtype, (gain / f64::from(*scale) - offset) as f32);
        let taken = (gain / (f64::from(divided) + offset)) as f32;
        if taken > 0.0 && taken.is_finite() {
            (*weight, *scale) = (divided, taken);
        } else {
            *scale = 1.0;
        }
    }
}

fn bounded(scale: f64) -> f32 {
    scale.clamp(LEAST, GREATEST) as f32
}

/// The least scale. No model is known to ask for less; with it, no weight of ordinary size becomes
/// subnormal.
const LEAST: f64 = 1.0 / 65_536.0;
/// The greatest scale.
const GREATEST: f64 = 65_536.0;
