//! The state of a regression on some of its features, and the step to other ones.
//!
//! Goodnight's sweep ("A tutorial on the SWEEP operator", 1979) in blocks. With K the features inside
//! and P those outside, the matrix holds
//!
//! ```text
//!     K                  P
//! K   -(H_KK)^-1         (H_KK)^-1 H_KP
//! P   ...                H_PP - H_PK (H_KK)^-1 H_KP
//! ```
//!
//! and the rows hold the solution `W_K = T_K (H_KK)^-1` inside and the residual `T_P - W_K H_KP`
//! outside. Taking features out is then the step of the optimal brain surgeon (ZipLM, 2302.04089,
//! section 3.1: removal, compensation, and downdate of the inverse), taking them in is its mirror
//! image, and both cost what they change in the loss by the same formula.

use crate::gather::{energy, gathered, scatter};
use crate::pivot::{Pivot, pivot_bytes};
use llmopt_linalg::{NotPositiveDefinite, Symmetric, wide};

pub(crate) struct Tableau {
    pub(crate) matrix: Symmetric<f32>,
    /// `[count, order]`, row-major.
    pub(crate) rows: Vec<f32>,
    pub(crate) inside: Vec<bool>,
}

impl Tableau {
    pub(crate) fn order(&self) -> usize {
        self.inside.len()
    }

    /// Takes features, all inside or all outside, to the other side. Returns by how much the loss rises
    /// or falls: `tr(V_S (A_SS)^-1 V_S^T)` with A the matrix and V the rows.
    ///
    /// Allocates [`Tableau::exchange_bytes`].
    ///
    /// # Errors
    /// [`NotPositiveDefinite`] if rounding has eaten up the pivot. Nothing is changed then.
    pub(crate) fn exchange(&mut self, features: &[usize]) -> Result<f64, NotPositiveDefinite> {
        let sign = self.sign(features);
        let pivot = Pivot::new(&self.matrix, features, sign)?;
        let shares = pivot.halved(&gathered(&self.rows, self.order(), features));
        self.exchange_matrix(features, sign, &pivot, &shares);
        for &feature in features {
            self.inside[feature] = !self.inside[feature];
        }
        Ok(energy(&shares))
    }

    /// The sign of a pivot on the side of these features.
    pub(crate) fn sign(&self, features: &[usize]) -> f64 {
        let inside = features.first().is_some_and(|&feature| self.inside[feature]);
        debug_assert!(features.iter().all(|&feature| self.inside[feature] == inside));
        if inside { -1.0 } else { 1.0 }
    }

    fn exchange_matrix(&mut self, features: &[usize], sign: f64, pivot: &Pivot, shares: &[f32]) {
        let (order, width) = (self.order(), features.len());
        let every: Vec<usize> = (0..order).collect();
        let halves = pivot.halved(&self.matrix.block(&every, features));
        wide::add_product_transposed(&mut self.rows, -sign, shares, &halves, width);
        scatter(&mut self.rows, order, features, &pivot.finished(shares));

        self.matrix.add_outer(-sign, &halves, width);
        let mut columns = pivot.finished(&halves);
        let square = pivot.square();
        for (&feature, row) in features.iter().zip(square.chunks_exact(width)) {
            let column = &mut columns[feature * width..][..width];
            column.iter_mut().zip(row).for_each(|(value, inverse)| *value = -sign as f32 * inverse);
        }
        self.matrix.set_columns(features, &columns);
    }

    /// The tableau of some features alone, as far as exchanges among them go.
    pub(crate) fn part(&self, features: &[usize]) -> Self {
        let inside = features.iter().map(|&feature| self.inside[feature]).collect();
        let rows = gathered(&self.rows, self.order(), features);
        Self { matrix: self.matrix.permuted(features), rows, inside }
    }

    /// The memory of a tableau of so many rows.
    pub(crate) fn bytes(count: usize, order: usize) -> u64 {
        let rows = (count * size_of::<f32>() + 1) * order;
        Symmetric::bytes_in_f32(order) + rows as u64
    }

    /// The most memory that exchanging so many features at once takes on so many threads.
    pub(crate) fn exchange_bytes(count: usize, order: usize, width: usize, threads: usize) -> u64 {
        let columns = (3 * order + 2 * count) * width * size_of::<f32>();
        let multiplying = wide::add_product_transposed_bytes(threads);
        let adding = Symmetric::add_outer_bytes(order, threads);
        pivot_bytes(width, threads) + (columns + multiplying.max(adding)) as u64
    }
}
