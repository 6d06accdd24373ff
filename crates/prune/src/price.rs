//! What each unit is worth.

use crate::gather::{energy, gathered, squares, squares_bytes};
use crate::pivot::{Pivot, pivot_bytes};
use crate::tableau::Tableau;
use llmopt_linalg::NotPositiveDefinite;
use rayon::prelude::*;

/// A unit, and by how much the loss changes if it alone changes sides.
#[derive(Clone, Copy)]
pub(crate) struct Priced {
    pub(crate) unit: usize,
    pub(crate) price: f64,
}

/// The features of units of `width` neighbours.
pub(crate) fn features(units: &[usize], width: usize) -> Vec<usize> {
    units.iter().flat_map(|unit| unit * width..(unit + 1) * width).collect()
}

impl Tableau {
    /// What removing each unit inside costs, the cheapest first; of equals the first unit
    /// (`tr(W_S ((H^-1)_SS)^-1 W_S^T)`: ZipLM, 2302.04089, section 3.1; SlimGPT, 2412.18110).
    ///
    /// # Errors
    /// [`NotPositiveDefinite`] if rounding has eaten up what a unit has on the diagonal.
    pub(crate) fn costs(&self, width: usize) -> Result<Vec<Priced>, NotPositiveDefinite> {
        let mut costs = Vec::new();
        for (unit, price) in self.prices(width, true) {
            costs.push(Priced { unit, price: price? });
        }
        costs.sort_by(|a, b| a.price.total_cmp(&b.price).then(a.unit.cmp(&b.unit)));
        Ok(costs)
    }

    /// What taking each unit outside back in gains, the greatest first; of equals the first unit. What
    /// is in the span of what is inside, as far as rounding shows, gains nothing.
    pub(crate) fn gains(&self, width: usize) -> Vec<Priced> {
        let prices = self.prices(width, false).into_iter();
        let gain =
            |(unit, price): (usize, Result<f64, _>)| Priced { unit, price: price.unwrap_or(0.0) };
        let mut gains: Vec<Priced> = prices.map(gain).filter(|gain| gain.price > 0.0).collect();
        gains.sort_by(|a, b| b.price.total_cmp(&a.price).then(a.unit.cmp(&b.unit)));
        gains
    }

    /// The price of each unit on a side.
    fn prices(&self, width: usize, inside: bool) -> Vec<(usize, Result<f64, NotPositiveDefinite>)> {
        let units = (0..self.order() / width).filter(|unit| self.inside[unit * width] == inside);
        if width == 1 {
            let squares = squares(&self.rows, self.order());
            return units.map(|unit| (unit, self.single(unit, squares[unit]))).collect();
        }
        let units: Vec<usize> = units.collect();
        units.into_par_iter().map(|unit| (unit, self.price(&features(&[unit], width)))).collect()
    }

    fn single(&self, feature: usize, square: f64) -> Result<f64, NotPositiveDefinite> {
        let pivot = self.sign(&[feature]) * f64::from(self.matrix.get(feature, feature));
        if pivot > 0.0 && pivot.is_finite() {
            Ok(square / pivot)
        } else {
            Err(NotPositiveDefinite { column: feature, pivot })
        }
    }

    fn price(&self, features: &[usize]) -> Result<f64, NotPositiveDefinite> {
        let pivot = Pivot::new(&self.matrix, features, self.sign(features))?;
        let shares = pivot.halved(&gathered(&self.rows, self.order(), features));
        Ok(energy(&shares))
    }

    /// The most memory that prices take on so many threads, the result included.
    pub(crate) fn prices_bytes(count: usize, order: usize, width: usize, threads: usize) -> u64 {
        let lists = order.div_ceil(width) * 6 * size_of::<Priced>();
        let one = pivot_bytes(width, 1) + (2 * count * width * size_of::<f32>()) as u64;
        let pricing =
            if width == 1 { squares_bytes(count, order) as u64 } else { threads as u64 * one };
        lists as u64 + pricing
    }
}
