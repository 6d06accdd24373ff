//! The slow twin: normal equations with every feature's own row and column, solved by elimination.

use llmopt_prune::Moments;

/// Row by row.
pub(crate) type Matrix = Vec<Vec<f64>>;

/// `V gram = right-hand side`, where a bias has a feature of its own, the last, that is not damped.
pub(crate) struct Equations {
    pub(crate) gram: Matrix,
    pub(crate) right_hand_side: Matrix,
    features: usize,
}

impl Equations {
    /// With `damping` times the mean of the diagonal, that of what varies where there is a bias.
    pub(crate) fn new(moments: &Moments<'_>, damping: f64) -> Self {
        let (rows, features) = (moments.rows(), moments.columns());
        let constant = moments.constant;
        let size = features + usize::from(constant.is_some());
        let sum = |i: usize, j: usize| match (i.max(j), i.min(j)) {
            (last, first) if last < features => moments.gram.get(last, first),
            (last, first) => constant.map_or(0.0, |constant| {
                if first == last { constant.tokens as f64 } else { constant.inputs[first] }
            }),
        };
        let varies =
            |i: usize| sum(i, i) - constant.map_or(0.0, |c| c.inputs[i].powi(2) / c.tokens as f64);
        let lambda = damping * (0..features).map(varies).sum::<f64>() / features as f64;
        let damped = |i, j| sum(i, j) + if i == j && i < features { lambda } else { 0.0 };
        let right_hand_side = |row: usize, j: usize| {
            let weight = |i: usize| f64::from(moments.weights[row * features + i]);
            let own: f64 = (0..features).map(|i| weight(i) * sum(i, j)).sum();
            if j == features {
                return own
                    + constant.and_then(|c| c.residual).map_or(0.0, |residual| residual[row]);
            }
            let moved = moments.cross.map_or(0.0, |cross| {
                (0..features).map(|i| weight(i) * f64::from(cross.get(i, j))).sum()
            });
            let residual = moments.residual.map_or(0.0, |r| f64::from(r[row * features + j]));
            own + moved + residual + lambda * weight(j)
        };
        Self {
            gram: (0..size).map(|i| (0..size).map(|j| damped(i, j)).collect()).collect(),
            right_hand_side: (0..rows)
                .map(|r| (0..size).map(|j| right_hand_side(r, j)).collect())
                .collect(),
            features,
        }
    }

    /// The weights of all features, and of the constant, with those that are not kept zero.
    pub(crate) fn solution(&self, kept: &[usize]) -> Matrix {
        let mut inside = kept.to_vec();
        inside.extend(self.features..self.gram.len());
        let part = |row: &Vec<f64>| inside.iter().map(|&j| row[j]).collect::<Vec<f64>>();
        let gram: Matrix = inside.iter().map(|&i| part(&self.gram[i])).collect();
        let solved = solved(gram, self.right_hand_side.iter().map(part).collect());
        let spread = |row: Vec<f64>| {
            let mut whole = vec![0.0; self.gram.len()];
            inside.iter().zip(row).for_each(|(&j, value)| whole[j] = value);
            whole
        };
        solved.into_iter().map(spread).collect()
    }

    /// By how much the kept features' solution is worse than `best`, that of all: a quadratic form, so
    /// that nothing great is subtracted from anything great.
    pub(crate) fn loss_against(&self, best: &Matrix, kept: &[usize]) -> f64 {
        let pairs = self.solution(kept).into_iter().zip(best);
        let form = |(row, best): (Vec<f64>, &Vec<f64>)| {
            let off: Vec<f64> = row.iter().zip(best).map(|(a, b)| a - b).collect();
            let times = |line: &Vec<f64>| line.iter().zip(&off).map(|(h, d)| h * d).sum::<f64>();
            self.gram.iter().map(times).zip(&off).map(|(product, d)| product * d).sum::<f64>()
        };
        pairs.map(form).sum()
    }

    pub(crate) fn best(&self) -> Matrix {
        self.solution(&(0..self.features).collect::<Vec<_>>())
    }

    pub(crate) fn loss(&self, kept: &[usize]) -> f64 {
        self.loss_against(&self.best(), kept)
    }

    /// Removes one unit at a time, the one without which everything solved anew is best. Returns what
    /// is left and the loss at each step.
    pub(crate) fn removed_singly(&self, width: usize, keep: usize) -> (Vec<usize>, Vec<f64>) {
        let best = self.best();
        let mut kept: Vec<usize> = (0..self.features / width).collect();
        let mut losses = vec![0.0];
        while kept.len() > keep {
            let without = |unit: usize| {
                let rest: Vec<usize> =
                    kept.iter().copied().filter(|&other| other != unit).collect();
                (self.loss_against(&best, &features(&rest, width)), rest)
            };
            let all = kept.iter().map(|&unit| without(unit));
            let (loss, rest) = all.min_by(|a, b| a.0.total_cmp(&b.0)).expect("a unit");
            losses.push(loss);
            kept = rest;
        }
        (kept, losses)
    }
}

pub(crate) fn features(units: &[usize], width: usize) -> Vec<usize> {
    units.iter().flat_map(|&unit| (0..width).map(move |i| unit * width + i)).collect()
}

/// Rows `x` with `x gram = right_hand_side`, by elimination with pivots chosen among rows.
pub(crate) fn solved(mut gram: Matrix, right_hand_side: Matrix) -> Matrix {
    let size = gram.len();
    // The matrix is symmetric: its transpose takes the rows of the right-hand side as columns.
    for (i, row) in gram.iter_mut().enumerate() {
        row.extend(right_hand_side.iter().map(|right_hand_side| right_hand_side[i]));
    }
    for column in 0..size {
        let greatest =
            |a: &usize, b: &usize| gram[*a][column].abs().total_cmp(&gram[*b][column].abs());
        let pivot = (column..size).max_by(greatest).expect("a row");
        gram.swap(column, pivot);
        let eliminated = gram[column].clone();
        for row in gram.iter_mut().skip(column + 1) {
            let factor = row[column] / eliminated[column];
            row[column..].iter_mut().zip(&eliminated[column..]).for_each(|(v, e)| *v -= factor * e);
        }
    }
    let mut solved = vec![vec![0.0; size]; right_hand_side.len()];
    for (k, solved) in solved.iter_mut().enumerate() {
        for i in (0..size).rev() {
            let known: f64 = (i + 1..size).map(|j| gram[i][j] * solved[j]).sum();
            solved[i] = (gram[i][size + k] - known) / gram[i][i];
        }
    }
    solved
}
