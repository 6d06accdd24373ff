//! Backward elimination: units that go, and come back.

use crate::price::features;
use crate::regression::Regression;
use crate::tableau::Tableau;
use llmopt_linalg::NotPositiveDefinite;

/// What is inside, and the loss that it took.
pub(crate) struct BackwardElimination {
    pub(crate) tableau: Tableau,
    pub(crate) width: usize,
    /// In the unit of the damping, above that of all units.
    pub(crate) loss: f64,
}

impl BackwardElimination {
    /// Everything is kept.
    pub(crate) fn new(
        regression: &Regression<'_>,
        width: usize,
    ) -> Result<Self, NotPositiveDefinite> {
        Ok(Self { tableau: regression.swept()?, width, loss: 0.0 })
    }

    /// The units on one side.
    pub(crate) fn units(&self, inside: bool) -> Vec<usize> {
        let units = 0..self.tableau.order() / self.width;
        units.filter(|unit| self.tableau.inside[unit * self.width] == inside).collect()
    }

    /// Removes units. Returns by how much the loss rises.
    pub(crate) fn remove(&mut self, units: &[usize]) -> Result<f64, NotPositiveDefinite> {
        let cost = self.exchange(units)?;
        self.loss += cost;
        Ok(cost)
    }

    /// Takes units back in. Returns by how much the loss falls.
    pub(crate) fn add(&mut self, units: &[usize]) -> Result<f64, NotPositiveDefinite> {
        let gain = self.exchange(units)?;
        self.loss -= gain;
        Ok(gain)
    }

    /// The units whose removal costs least, so many of them, one after the other. Where there are
    /// several, each is removed from the cheapest twice as many before the next is chosen: two that say
    /// the same are each cheap, and together dear.
    pub(crate) fn cheapest(&self, count: usize) -> Result<Vec<usize>, NotPositiveDefinite> {
        let costs = self.tableau.costs(self.width)?;
        let candidates = if count > 1 { 2 * count } else { 1 };
        let mut units: Vec<usize> =
            costs.iter().take(candidates).map(|priced| priced.unit).collect();
        if count <= 1 {
            return Ok(units);
        }
        units.sort_unstable();
        let part = self.tableau.part(&features(&units, self.width));
        let removed = removed_singly(part, self.width, count)?;
        Ok(removed.into_iter().map(|place| units[place]).collect())
    }

    fn exchange(&mut self, units: &[usize]) -> Result<f64, NotPositiveDefinite> {
        self.tableau.exchange(&features(units, self.width))
    }
}

/// Removes the cheapest unit so many times.
fn removed_singly(
    mut tableau: Tableau,
    width: usize,
    count: usize,
) -> Result<Vec<usize>, NotPositiveDefinite> {
    let mut removed = Vec::new();
    while removed.len() < count {
        let Some(cheapest) = tableau.costs(width)?.first().copied() else { break };
        tableau.exchange(&features(&[cheapest.unit], width))?;
        removed.push(cheapest.unit);
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moments::Moments;
    use llmopt_linalg::{Gemm, KernelChoice, Precision, Symmetric};

    const COLUMNS: usize = 9;

    fn gemm() -> Gemm {
        Gemm::new(Precision::F32, KernelChoice::Portable).expect("plain Rust")
    }

    /// A matrix with something beside its diagonal.
    fn gram() -> Symmetric {
        let mut gram = Symmetric::zeros(COLUMNS);
        for (i, j) in (0..COLUMNS).flat_map(|i| (0..=i).map(move |j| (i, j))) {
            gram.set(
                i,
                j,
                if i == j { 9.0 + i as f64 } else { ((i * 5 + j * 3) % 7) as f64 / 4.0 },
            );
        }
        gram
    }

    /// The tableau in f64, one feature after the other (Goodnight, "A tutorial on the SWEEP operator",
    /// 1979, section 4): the matrix, and beneath it the rows.
    fn twin(regression: &Regression<'_>, inside: &[bool]) -> Vec<Vec<f64>> {
        let order = inside.len();
        let every: Vec<usize> = (0..order).collect();
        let gram = regression.gram.damped(&every, regression.damping);
        let weights = regression.weights.chunks(order);
        let row = |of: &dyn Fn(usize) -> f64| (0..order).map(of).collect::<Vec<f64>>();
        let mut swept: Vec<Vec<f64>> = (0..order).map(|i| row(&|j| gram.get(i, j))).collect();
        swept.extend(weights.map(|weights| {
            let targets = |j| (0..order).map(|k| f64::from(weights[k]) * gram.get(k, j)).sum();
            row(&targets)
        }));
        for k in (0..order).filter(|&k| inside[k]) {
            let across = swept[k].clone();
            for (_, row) in swept.iter_mut().enumerate().filter(|(i, _)| *i != k) {
                let share = row[k] / across[k];
                for j in (0..order).filter(|&j| j != k) {
                    row[j] -= share * across[j];
                }
                row[k] = share;
            }
            for (j, value) in across.iter().enumerate() {
                swept[k][j] = if j == k { -across[k].recip() } else { value / across[k] };
            }
        }
        swept
    }

    /// Checks matrix and rows of an elimination against what is swept afresh.
    fn check(regression: &Regression<'_>, elimination: &BackwardElimination, tolerance: f64) {
        let Tableau { matrix, rows, inside } = &elimination.tableau;
        let order = inside.len();
        let expected = twin(regression, inside);
        let (square, beneath) = expected.split_at(order);
        let found = (0..order * order).map(|at| matrix.get(at / order, at % order));
        let found = found.chain(rows.iter().copied());
        for (found, expected) in found.zip(square.iter().chain(beneath).flatten()) {
            let error = (f64::from(found) - expected).abs();
            assert!(error < tolerance * expected.abs().max(1.0), "{found}, not {expected}");
        }
    }

    fn with_elimination(work: impl Fn(&mut BackwardElimination)) {
        let weights = [1.0, -2.0, 3.0, 0.5, 2.0, 1.5, -1.0, 0.25, 4.0].repeat(2);
        let (gram, weights) = (gram(), &weights);
        let moments = Moments { weights, gram: &gram, cross: None, residual: None, constant: None };
        let regression = Regression::prepare(gemm(), &moments, 0.01).expect("finite moments");
        let mut elimination = BackwardElimination::new(&regression, 1).expect("a tableau");
        check(&regression, &elimination, 1e-5);
        elimination.remove(&[1, 5]).expect("a pivot");
        work(&mut elimination);
        check(&regression, &elimination, 1e-5);
    }

    #[test]
    fn a_tableau_that_went_is_that_swept_where_it_came_to() {
        with_elimination(|_| ());
        with_elimination(|elimination| {
            let cost = elimination.remove(&[2, 8]).expect("a pivot");
            let gain = elimination.add(&[5]).expect("a pivot");
            assert!(cost > gain && gain > 0.0);
        });
        with_elimination(|elimination| {
            let loss = elimination.loss;
            let gain = elimination.add(&[1, 5]).expect("a pivot");
            assert!((loss - gain).abs() < 1e-5 && elimination.loss.abs() < 1e-5);
        });
    }

    #[test]
    fn what_outputs_lack_is_solved_for() {
        let (gram, weights) = (gram(), vec![0.5; 2 * COLUMNS]);
        let residual: Vec<f32> = (0..2 * COLUMNS).map(|i| (i % 5) as f32 - 2.0).collect();
        let residual = Some(&residual[..]);
        let moments =
            Moments { weights: &weights, gram: &gram, cross: None, residual, constant: None };
        for gemm in Gemm::available(Precision::Bf16).chain([gemm()]) {
            let mut regression = Regression::prepare(gemm, &moments, 0.01).expect("finite moments");
            let elimination = BackwardElimination::new(&regression, 1).expect("a tableau");
            let every: Vec<usize> = (0..COLUMNS).collect();
            let expected = regression.refit(&every).expect("weights").weights;
            for (found, expected) in elimination.tableau.rows.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
            }
        }
    }

    #[test]
    fn a_pivot_that_rounding_ate_is_an_error() {
        with_elimination(|elimination| {
            let kept = elimination.tableau.matrix.get(3, 3);
            elimination.tableau.matrix.set(3, 3, 1e-9);
            assert!(elimination.cheapest(2).is_err() && elimination.remove(&[3]).is_err());
            elimination.tableau.matrix.set(3, 3, kept);
        });
    }

    /// Columns that nearly repeat each other, and outlying ones.
    fn redundant(columns: usize, latent: usize) -> Symmetric {
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let mix: Vec<f32> = (0..columns * latent).map(|_| next()).collect();
        let token = |_| {
            let hidden: Vec<f32> = (0..latent).map(|_| next()).collect();
            let mixed = mix.chunks(latent).enumerate().map(|(column, mix)| {
                let said: f32 = mix.iter().zip(&hidden).map(|(a, b)| a * b).sum();
                let size = if column % 17 == 0 { 100.0 } else { 1.0 };
                size * (said + 1e-3 * next())
            });
            mixed.collect::<Vec<f32>>()
        };
        let rows: Vec<f32> = (0..4 * columns).flat_map(token).collect();
        let mut gram = Symmetric::zeros(columns);
        gram.add_products(gemm(), &rows);
        gram
    }

    #[test]
    fn rounding_does_not_build_up_where_features_nearly_repeat() {
        const MANY: usize = 160;
        let gram = redundant(MANY, 12);
        let weights: Vec<f32> = (0..3 * MANY).map(|i| (i as f32 * 0.7).sin()).collect();
        let weights = &weights[..];
        let moments = Moments { weights, gram: &gram, cross: None, residual: None, constant: None };
        let regression = Regression::prepare(gemm(), &moments, 1e-3).expect("finite moments");
        let mut elimination = BackwardElimination::new(&regression, 1).expect("a tableau");
        while elimination.units(true).len() > 8 {
            let cheapest = elimination.cheapest(2).expect("a pivot");
            elimination.remove(&cheapest).expect("a pivot");
        }
        check(&regression, &elimination, 1e-3);
    }
}
