//! Inputs of matrices, and what they sum up to.

use crate::weights::uniform;
use llmopt_linalg::{Cross, Gemm, KernelChoice, Precision, Symmetric};
use llmopt_quant::Moments;

/// Inputs as quantized layers before hand them on, what they were before, and what outputs are added
/// to: `[tokens, columns]` and `[tokens, rows]`.
pub(crate) struct Inputs {
    pub(crate) columns: usize,
    pub(crate) now: Vec<f32>,
    pub(crate) before: Vec<f32>,
    /// How far the stream that outputs are added to is from what it was.
    pub(crate) stream: Vec<f32>,
    pub(crate) rows: usize,
}

/// The sums.
pub(crate) struct Sums {
    pub(crate) gram: Symmetric,
    pub(crate) cross: Cross,
    pub(crate) residual: Vec<f32>,
    pub(crate) tokens: u64,
}

pub(crate) fn gemm() -> Gemm {
    Gemm::new(Precision::F32, KernelChoice::Portable).expect("plain Rust runs everywhere")
}

impl Inputs {
    /// Columns that have much in common and are of different sizes, as those of models are.
    pub(crate) fn new(seed: u64, tokens: usize, rows: usize, columns: usize) -> Self {
        let mut uniform = uniform(seed);
        let mut normal = move || ((0..6).map(|_| uniform()).sum::<f64>() - 3.0) * 1.4;
        let factors: Vec<f64> = (0..5 * columns).map(|_| normal()).collect();
        let sizes: Vec<f64> = (0..columns).map(|_| normal().exp()).collect();
        let mut all = Self { columns, now: vec![], before: vec![], stream: vec![], rows };
        for _ in 0..tokens {
            let common: Vec<f64> = (0..5).map(|_| normal()).collect();
            for column in 0..columns {
                let shared: f64 = (0..5).map(|i| common[i] * factors[i * columns + column]).sum();
                let now = (0.5 * shared + normal()) * sizes[column];
                all.now.push(now as f32);
                all.before.push((now * 1.05 + 0.1 * normal() * sizes[column]) as f32);
            }
            all.stream
                .extend((0..rows).map(|row| (0.1 * common[row % 5] + 0.05 * normal()) as f32));
        }
        all
    }

    /// Sums in f64, one by one; those of [`Cross`] as it takes them.
    pub(crate) fn sums(&self) -> Sums {
        let tokens = self.now.len() / self.columns.max(1);
        let mut gram = Symmetric::zeros(self.columns);
        for (i, j) in (0..self.columns).flat_map(|i| (0..=i).map(move |j| (i, j))) {
            let product = |row: &[f32]| f64::from(row[i]) * f64::from(row[j]);
            gram.set(i, j, self.now.chunks(self.columns).map(product).sum());
        }
        let difference: Vec<f32> = self.before.iter().zip(&self.now).map(|(b, n)| b - n).collect();
        let mut cross = Cross::zeros(self.columns);
        cross.add_products(gemm(), &difference, &self.now);
        let mut residual = vec![0.0; self.rows * self.columns];
        for (row, sums) in residual.chunks_mut(self.columns).enumerate() {
            for (column, sum) in sums.iter_mut().enumerate() {
                let token = |token: usize| {
                    f64::from(self.stream[token * self.rows + row])
                        * f64::from(self.now[token * self.columns + column])
                };
                *sum = (0..tokens).map(token).sum::<f64>() as f32;
            }
        }
        Sums { gram, cross, residual, tokens: tokens as u64 }
    }
}

impl Sums {
    /// Of inputs that did not change.
    pub(crate) fn alone(&self) -> Moments<'_> {
        Moments { gram: &self.gram, cross: None, residual: None, tokens: self.tokens }
    }

    /// With what was before.
    pub(crate) fn whole(&self) -> Moments<'_> {
        Moments { cross: Some(&self.cross), residual: Some(&self.residual), ..self.alone() }
    }
}
