//! The inverse factor of a block of the diagonal.

use llmopt_linalg::{Factor, NotPositiveDefinite, Symmetric, wide};

/// The lower triangular `M = L^-1` of a block `sign (L L^T)` of the diagonal of a symmetric matrix.
/// Products with it stand in for solving: a block is small, and products are fast at any size.
pub(crate) struct Pivot {
    width: usize,
    /// `[width, width]`, row-major.
    inverse: Vec<f64>,
    transposed: Vec<f64>,
}

impl Pivot {
    /// Of `matrix[features, features]`. Allocates [`Pivot::bytes`].
    pub(crate) fn new(
        matrix: &Symmetric,
        features: &[usize],
        sign: f64,
    ) -> Result<Self, NotPositiveDefinite> {
        if let &[feature] = features {
            return Self::of_one(sign * matrix.get(feature, feature));
        }
        let width = features.len();
        let mut block = matrix.permuted(features);
        block.scale(sign);
        let lower = block.cholesky()?.inverse();
        let place = |i: usize| (i / width, i % width);
        let inverse = (0..width * width).map(|i| lower.get(place(i).0, place(i).1)).collect();
        let transposed = (0..width * width).map(|i| lower.get(place(i).1, place(i).0)).collect();
        Ok(Self { width, inverse, transposed })
    }

    fn of_one(pivot: f64) -> Result<Self, NotPositiveDefinite> {
        if !(pivot > 0.0 && pivot.is_finite()) {
            return Err(NotPositiveDefinite { column: 0, pivot });
        }
        let inverse = vec![pivot.sqrt().recip()];
        Ok(Self { width: 1, transposed: inverse.clone(), inverse })
    }

    /// The most memory that making one takes on so many threads, itself included.
    pub(crate) fn bytes(width: usize, threads: usize) -> u64 {
        let factoring = Symmetric::cholesky_bytes(width, threads);
        let solving = Factor::inverse_bytes(width, threads);
        let own = 2 * width * width * size_of::<f64>();
        2 * Symmetric::bytes(width) + (own + factoring.max(solving)) as u64
    }

    /// `rows M^T = rows L^-T`, `[count, width]`.
    pub(crate) fn halved(&self, rows: &[f64]) -> Vec<f64> {
        self.times(rows, &self.inverse)
    }

    /// `rows M = rows L^-1`, `[count, width]`.
    pub(crate) fn finished(&self, rows: &[f64]) -> Vec<f64> {
        self.times(rows, &self.transposed)
    }

    /// `M^T M = (L L^T)^-1`, `[width, width]`.
    pub(crate) fn square(&self) -> Vec<f64> {
        self.times(&self.transposed, &self.transposed)
    }

    fn times(&self, rows: &[f64], transposed: &[f64]) -> Vec<f64> {
        let mut products = vec![0.0; rows.len()];
        wide::add_product_transposed(&mut products, 1.0, rows, transposed, self.width);
        products
    }
}
