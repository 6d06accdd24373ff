//! The inverse factor of a block of the diagonal.

use llmopt_linalg::{Factor, NotPositiveDefinite, Symmetric, wide};

/// The lower triangular `M = L^-1` of a block `sign (L L^T)` of the diagonal of a symmetric matrix.
/// Products with it stand in for solving: a block is small, and products are fast at any size.
pub(crate) struct Pivot {
    width: usize,
    /// `[width, width]`, row-major.
    inverse: Vec<f32>,
    transposed: Vec<f32>,
}

impl Pivot {
    /// Of `matrix[features, features]`, factored in f64. Allocates [`pivot_bytes`].
    pub(crate) fn new(
        matrix: &Symmetric<f32>,
        features: &[usize],
        sign: f64,
    ) -> Result<Self, NotPositiveDefinite> {
        if let &[feature] = features {
            return Self::of_one(sign * f64::from(matrix.get(feature, feature)));
        }
        let width = features.len();
        let mut block = matrix.permuted_in_f64(features);
        block.scale(sign);
        let lower = block.cholesky()?.inverse();
        let at = |row, column| lower.get(row, column) as f32;
        let inverse = (0..width * width).map(|i| at(i / width, i % width)).collect();
        let transposed = (0..width * width).map(|i| at(i % width, i / width)).collect();
        Ok(Self { width, inverse, transposed })
    }

    fn of_one(pivot: f64) -> Result<Self, NotPositiveDefinite> {
        if !(pivot > 0.0 && pivot.is_finite()) {
            return Err(NotPositiveDefinite { column: 0, pivot });
        }
        let inverse = vec![pivot.sqrt().recip() as f32];
        Ok(Self { width: 1, transposed: inverse.clone(), inverse })
    }

    /// `rows M^T = rows L^-T`, `[count, width]`.
    pub(crate) fn halved(&self, rows: &[f32]) -> Vec<f32> {
        self.times(rows, &self.inverse)
    }

    /// `rows M = rows L^-1`, `[count, width]`.
    pub(crate) fn finished(&self, rows: &[f32]) -> Vec<f32> {
        self.times(rows, &self.transposed)
    }

    /// `M^T M = (L L^T)^-1`, `[width, width]`.
    pub(crate) fn square(&self) -> Vec<f32> {
        self.times(&self.transposed, &self.transposed)
    }

    fn times(&self, rows: &[f32], transposed: &[f32]) -> Vec<f32> {
        let mut products = vec![0.0; rows.len()];
        wide::add_product_transposed(&mut products, 1.0, rows, transposed, self.width);
        products
    }
}

/// The most memory that making a pivot takes on so many threads, itself included.
pub(crate) fn pivot_bytes(width: usize, threads: usize) -> u64 {
    let factoring = Symmetric::cholesky_bytes(width, threads);
    let solving = Factor::inverse_bytes(width, threads);
    let own = 2 * width * width * size_of::<f64>();
    2 * Symmetric::bytes(width) + (own + factoring.max(solving)) as u64
}
