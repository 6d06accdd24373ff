//! The slow twins of the solver, from the papers and in f64.

use crate::inputs::Sums;
use llmopt_quant::{Quantizer, Search};
use llmopt_scheme::{QuantizedMatrix, Scheme};
use llmopt_tensor::{Dtype, rounded};
use ndarray::ArrayView2;

/// A square matrix, row by row.
pub(crate) type Square = Vec<Vec<f64>>;

/// The Gram matrix with `damping` times the mean of its diagonal added to that.
pub(crate) fn damped(sums: &Sums, damping: f64) -> Square {
    let order = sums.gram.order();
    let mean = (0..order).map(|i| sums.gram.get(i, i)).sum::<f64>() / order as f64;
    let element = |i, j| sums.gram.get(i, j) + if i == j { damping * mean } else { 0.0 };
    (0..order).map(|i| (0..order).map(|j| element(i, j)).collect()).collect()
}

/// By Gauss and Jordan.
pub(crate) fn inverse(matrix: &Square) -> Square {
    let order = matrix.len();
    let unit = |i: usize| (0..order).map(move |j| if i == j { 1.0 } else { 0.0 });
    let mut rows: Square = matrix
        .iter()
        .enumerate()
        .map(|(i, row)| row.iter().copied().chain(unit(i)).collect())
        .collect();
    for pivot in 0..order {
        let factor = rows[pivot][pivot].recip();
        rows[pivot].iter_mut().for_each(|value| *value *= factor);
        let eliminated = rows[pivot].clone();
        for row in (0..order).filter(|&row| row != pivot) {
            let factor = rows[row][pivot];
            for (value, from) in rows[row].iter_mut().zip(&eliminated) {
                *value -= factor * from;
            }
        }
    }
    rows.into_iter().map(|row| row[order..].to_vec()).collect()
}

/// `W + share (W D + R) H^-1` (QEP, 2504.09629, with the stream that outputs are added to).
pub(crate) fn targets(
    weights: &[f32],
    residual: &[f32],
    sums: &Sums,
    gram: &Square,
    share: f64,
) -> Vec<f64> {
    let (order, inverse) = (gram.len(), inverse(gram));
    let rows = weights.chunks(order).zip(residual.chunks(order));
    let target = |(row, residual): (&[f32], &[f32])| -> Vec<f64> {
        let asked = |j: usize| -> f64 {
            let moved = (0..order).map(|i| f64::from(row[i]) * f64::from(sums.cross.get(i, j)));
            moved.sum::<f64>() + f64::from(residual[j])
        };
        let asked: Vec<f64> = (0..order).map(asked).collect();
        let solved = |j: usize| (0..order).map(|i| asked[i] * inverse[i][j]).sum::<f64>();
        (0..order).map(|j| f64::from(row[j]) + share * solved(j)).collect()
    };
    rows.flat_map(target).collect()
}

/// Optimal brain quantization of all rows in one order of columns (GPTQ, 2210.17323, sections 2 and
/// 3): the inverse is held, and each column is eliminated from it after it is rounded.
///
/// `grids_first` says that scales are fitted before anything is rounded; else each is when the first
/// column of its tile is reached. Returns what the codes stand for.
pub(crate) fn brain_quantized(
    targets: &[f64],
    gram: &Square,
    order: &[usize],
    scheme: &Scheme,
    grids_first: bool,
) -> Vec<f64> {
    let columns = gram.len();
    let steps = eliminations(gram, order);
    let importance: Vec<f64> = (0..columns).map(|column| steps[column][column].recip()).collect();
    let group = match scheme.granularity {
        llmopt_scheme::Granularity::Group(size) => size,
        _ => columns,
    };
    let fit = |values: &[f64], first: usize| {
        let values: Vec<f32> = values[first..first + group].iter().map(|&v| v as f32).collect();
        let view = ArrayView2::from_shape((1, group), &values).expect("one row");
        let search = Search::weighted(&importance[first..first + group]);
        search.quantize(view, scheme, Dtype::BF16).expect("finite").grid
    };
    let row = |targets: &[f64]| -> Vec<f64> {
        let mut values = targets.to_vec();
        let mut grids: Vec<_> =
            (0..columns).step_by(group).map(|first| fit(&values, first)).collect();
        let mut entered = vec![grids_first; grids.len()];
        for (step, &column) in order.iter().enumerate() {
            let (tile, within) = (column / group, column % group);
            if !entered[tile] {
                grids[tile] = fit(&values, tile * group);
                entered[tile] = true;
            }
            let code = grids[tile].nearest(0, within, values[column] as f32);
            let value = f64::from(grids[tile].value(0, within, code));
            let error = (values[column] - value) / steps[column][column];
            for &later in &order[step + 1..] {
                values[later] -= error * steps[column][later];
            }
            values[column] = value;
        }
        values
    };
    targets.chunks(columns).flat_map(row).collect()
}

/// For each column, its row of the inverse once those before it are eliminated.
fn eliminations(gram: &Square, order: &[usize]) -> Square {
    let mut inverse = inverse(gram);
    let mut rows = vec![Vec::new(); order.len()];
    for (step, &column) in order.iter().enumerate() {
        rows[column] = inverse[column].clone();
        for &i in &order[step + 1..] {
            let factor = inverse[i][column] / inverse[column][column];
            for &j in &order[step + 1..] {
                inverse[i][j] -= factor * rows[column][j];
            }
        }
    }
    rows
}

/// Coordinate descent by trying: the stored scale nearest to the best for each tile from left to
/// right, then each code of them all for every column, by the error that the whole row has.
pub(crate) fn descended(matrix: &mut QuantizedMatrix, targets: &[f64], gram: &Square) {
    let (columns, tiles) = (matrix.columns(), matrix.grid.tiles);
    for row in 0..matrix.rows() {
        let targets = &targets[row * columns..][..columns];
        for across in 0..tiles.across() {
            let tile = row * tiles.across() + across;
            let old = matrix.grid.scales[tile];
            let mut at = |scale: f32| {
                matrix.grid.scales[tile] = scale;
                row_error(matrix, row, targets, gram)
            };
            // A parabola through three points.
            let (less, same, more) = (at(old * 0.5), at(old), at(old * 1.5));
            let best = old + 0.25 * old * ((less - more) / (less - 2.0 * same + more)) as f32;
            let new = rounded(Dtype::BF16, best);
            let kept = if new.is_finite() && new != 0.0 && at(new) < same { new } else { old };
            matrix.grid.scales[tile] = kept;
        }
        for column in 0..columns {
            let index = row * columns + column;
            let llmopt_scheme::Levels::Integer { low, high } = matrix.grid.levels else {
                panic!("integers")
            };
            let mut best = (f64::INFINITY, 0);
            for code in low..=high {
                matrix.codes[index] = code;
                let error = row_error(matrix, row, targets, gram);
                best = if error < best.0 { (error, code) } else { best };
            }
            matrix.codes[index] = best.1;
        }
    }
}

/// `e H e^T` of a row.
fn row_error(matrix: &QuantizedMatrix, row: usize, targets: &[f64], gram: &Square) -> f64 {
    let columns = targets.len();
    let code = |column: usize| matrix.codes[row * columns + column];
    let value = |column| f64::from(matrix.grid.value(row, column, code(column)));
    let errors: Vec<f64> = (0..columns).map(|column| value(column) - targets[column]).collect();
    form(&errors, gram)
}

/// The sum of `e H e^T` over all rows.
pub(crate) fn error(values: &[f64], targets: &[f64], gram: &Square) -> f64 {
    let errors: Vec<f64> = values.iter().zip(targets).map(|(v, t)| v - t).collect();
    errors.chunks(gram.len()).map(|row| form(row, gram)).sum()
}

fn form(row: &[f64], gram: &Square) -> f64 {
    let inner = |gram: &[f64]| gram.iter().zip(row).map(|(g, r)| g * r).sum::<f64>();
    gram.iter().zip(row).map(|(gram, r)| inner(gram) * r).sum()
}
