//! A tableau that stays true to the sums that it came from.

use crate::price::features;
use crate::regression::Regression;
use crate::tableau::Tableau;
use llmopt_linalg::NotPositiveDefinite;

/// Units that come and go, and the loss meanwhile.
///
/// The tableau is in f32: a choice needs few digits, and the damping bounds what rounding does to an
/// inverse. Where it eats up a pivot, the tableau is computed afresh in f64.
pub(crate) struct Course<'r> {
    regression: &'r Regression<'r>,
    pub(crate) tableau: Tableau<f32>,
    pub(crate) width: usize,
    /// In the unit of the damping, above that of all units.
    pub(crate) loss: f64,
}

impl<'r> Course<'r> {
    /// Everything is kept.
    pub(crate) fn new(
        regression: &'r Regression<'r>,
        width: usize,
    ) -> Result<Self, NotPositiveDefinite> {
        let tableau = regression.everything()?;
        Ok(Self { regression, tableau, width, loss: 0.0 })
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
    pub(crate) fn cheapest(&mut self, count: usize) -> Result<Vec<usize>, NotPositiveDefinite> {
        let width = self.width;
        self.steadily(|tableau| {
            let costs = tableau.costs(width)?;
            let candidates = if count > 1 { 2 * count } else { 1 };
            let mut units: Vec<usize> =
                costs.iter().take(candidates).map(|priced| priced.unit).collect();
            if count <= 1 {
                return Ok(units);
            }
            units.sort_unstable();
            let part = tableau.part(&features(&units, width));
            Ok(removed_singly(part, width, count)?.into_iter().map(|place| units[place]).collect())
        })
    }

    fn exchange(&mut self, units: &[usize]) -> Result<f64, NotPositiveDefinite> {
        let features = features(units, self.width);
        self.steadily(|tableau| tableau.exchange(&features))
    }

    /// Does something, if need be with a tableau computed afresh.
    fn steadily<T>(
        &mut self,
        work: impl Fn(&mut Tableau<f32>) -> Result<T, NotPositiveDefinite>,
    ) -> Result<T, NotPositiveDefinite> {
        if let Ok(done) = work(&mut self.tableau) {
            return Ok(done);
        }
        self.compute_afresh()?;
        work(&mut self.tableau)
    }

    fn compute_afresh(&mut self) -> Result<(), NotPositiveDefinite> {
        let inside = std::mem::take(&mut self.tableau.inside);
        // There is memory for one.
        self.tableau = Tableau::empty();
        self.tableau = self.regression.swept(&inside)?.rounded();
        Ok(())
    }
}

/// Removes the cheapest unit so many times.
fn removed_singly(
    mut tableau: Tableau<f32>,
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

    fn near(found: f32, expected: f64, tolerance: f64) {
        let error = (f64::from(found) - expected).abs();
        assert!(error < tolerance * expected.abs().max(1.0), "{found}, not {expected}");
    }

    fn check(work: impl Fn(&mut Course<'_>)) {
        let (gram, weights) = (gram(), [1.0, -2.0, 3.0, 0.5, 2.0, 1.5, -1.0, 0.25, 4.0].repeat(2));
        let weights = &weights;
        let moments = Moments { weights, gram: &gram, cross: None, residual: None, constant: None };
        let regression = Regression::prepare(gemm(), &moments, 0.01).expect("finite moments");
        let mut course = Course::new(&regression, 1).expect("a tableau");
        course.remove(&[1, 5]).expect("a pivot");
        work(&mut course);
        let afresh = regression.swept(&course.tableau.inside).expect("a tableau");
        for (i, j) in (0..COLUMNS).flat_map(|i| (0..COLUMNS).map(move |j| (i, j))) {
            near(course.tableau.matrix.get(i, j), afresh.matrix.get(i, j), 1e-5);
        }
        for (&found, &expected) in course.tableau.rows.iter().zip(&afresh.rows) {
            near(found, expected, 1e-5);
        }
    }

    #[test]
    fn a_tableau_that_went_is_that_computed_where_it_came_to() {
        check(|_| ());
        check(|course| {
            let cost = course.remove(&[2, 8]).expect("a pivot");
            let gain = course.add(&[5]).expect("a pivot");
            assert!(cost > gain && gain > 0.0);
        });
        check(|course| {
            let loss = course.loss;
            let gain = course.add(&[1, 5]).expect("a pivot");
            assert!((loss - gain).abs() < 1e-5 && course.loss.abs() < 1e-5);
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
        let mut course = Course::new(&regression, 1).expect("a tableau");
        while course.units(true).len() > 8 {
            let cheapest = course.cheapest(2).expect("a pivot");
            course.remove(&cheapest).expect("a pivot");
        }
        let afresh = regression.swept(&course.tableau.inside).expect("a tableau");
        let kept = course.units(true);
        for row in 0..3 {
            for &column in &kept {
                let at = row * MANY + column;
                near(course.tableau.rows[at], afresh.rows[at], 1e-3);
            }
        }
    }

    #[test]
    fn a_pivot_that_rounding_ate_is_computed_afresh() {
        check(|course| {
            let expected = course.cheapest(2).expect("a pivot");
            course.tableau.matrix.set(3, 3, 1e-9);
            assert_eq!(course.cheapest(2).expect("a tableau computed afresh"), expected);
        });
    }
}
