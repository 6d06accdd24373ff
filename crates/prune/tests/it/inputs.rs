//! Matrices, tokens, and what they sum up to.

use llmopt_linalg::{Cross, Gemm, KernelChoice, Precision, Symmetric};
use llmopt_prune::{Constant, Moments, Regression};

/// Tokens as a pruned model hands them on, what they were, and how far the stream that outputs are
/// added to is from what it was: `[tokens, columns]` and `[tokens, rows]`.
pub(crate) struct Tokens {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) weights: Vec<f32>,
    pub(crate) now: Vec<f32>,
    pub(crate) before: Vec<f32>,
    pub(crate) stream: Vec<f32>,
}

/// Their sums.
pub(crate) struct Sums {
    pub(crate) weights: Vec<f32>,
    pub(crate) gram: Symmetric,
    pub(crate) cross: Cross,
    pub(crate) residual: Vec<f32>,
    pub(crate) tokens: u64,
    pub(crate) inputs: Vec<f64>,
    pub(crate) outputs: Vec<f64>,
}

pub(crate) fn gemm() -> Gemm {
    Gemm::new(Precision::F32, KernelChoice::Portable).expect("plain Rust runs everywhere")
}

/// Roughly normal numbers, the same everywhere.
pub(crate) fn normal(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed * 2 + 1;
    let mut uniform = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 24) as f64
    };
    move || ((0..6).map(|_| uniform()).sum::<f64>() - 3.0) * 1.4
}

impl Tokens {
    /// Columns that have much in common, of different sizes and with means of their own.
    pub(crate) fn new(seed: u64, tokens: usize, rows: usize, columns: usize) -> Self {
        let mut normal = normal(seed);
        let factors: Vec<f64> = (0..5 * columns).map(|_| normal()).collect();
        let sizes: Vec<f64> = (0..columns).map(|_| (0.5 * normal()).exp()).collect();
        let means: Vec<f64> = (0..columns).map(|_| 0.5 * normal()).collect();
        let weights = (0..rows * columns).map(|_| (0.1 * normal()) as f32).collect();
        let mut all = Self { rows, columns, weights, now: vec![], before: vec![], stream: vec![] };
        for _ in 0..tokens {
            let common: Vec<f64> = (0..5).map(|_| normal()).collect();
            for column in 0..columns {
                let shared: f64 = (0..5).map(|i| common[i] * factors[i * columns + column]).sum();
                let now = (0.5 * shared + normal() + means[column]) * sizes[column];
                all.now.push(now as f32);
                all.before.push((now * 1.05 + 0.1 * normal() * sizes[column]) as f32);
            }
            all.stream.extend((0..rows).map(|row| (0.1 * common[row % 5] + 0.05) as f32));
        }
        all
    }

    /// Replaces a column of the inputs.
    pub(crate) fn set_column(&mut self, column: usize, of: impl Fn(&[f32]) -> f32) {
        for rows in [&mut self.now, &mut self.before] {
            rows.chunks_exact_mut(self.columns).for_each(|row| row[column] = of(row));
        }
    }

    pub(crate) fn sums(&self) -> Sums {
        let mut gram = Symmetric::zeros(self.columns);
        for (i, j) in (0..self.columns).flat_map(|i| (0..=i).map(move |j| (i, j))) {
            let product = |row: &[f32]| f64::from(row[i]) * f64::from(row[j]);
            gram.set(i, j, self.now.chunks(self.columns).map(product).sum());
        }
        let moved: Vec<f32> = self.before.iter().zip(&self.now).map(|(b, n)| b - n).collect();
        let mut cross = Cross::zeros(self.columns);
        cross.add_products(gemm(), &moved, &self.now);
        let mut residual = Cross::rectangle(self.rows, self.columns);
        residual.add_products(gemm(), &self.stream, &self.now);
        let mut inputs = vec![0.0; self.columns];
        let mut outputs = vec![0.0; self.rows];
        for token in 0..self.tokens() {
            let now = &self.now[token * self.columns..][..self.columns];
            inputs.iter_mut().zip(now).for_each(|(sum, x)| *sum += f64::from(*x));
            for (row, sum) in outputs.iter_mut().enumerate() {
                *sum += self.target(token, row) - self.output(now, row);
            }
        }
        Sums {
            weights: self.weights.clone(),
            gram,
            cross,
            residual: residual.values().to_vec(),
            tokens: self.tokens() as u64,
            inputs,
            outputs,
        }
    }

    pub(crate) fn tokens(&self) -> usize {
        self.now.len() / self.columns
    }

    /// What an output should be.
    pub(crate) fn target(&self, token: usize, row: usize) -> f64 {
        let before = &self.before[token * self.columns..][..self.columns];
        self.output(before, row) + f64::from(self.stream[token * self.rows + row])
    }

    fn output(&self, inputs: &[f32], row: usize) -> f64 {
        let weights = &self.weights[row * self.columns..][..self.columns];
        weights.iter().zip(inputs).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum()
    }
}

impl Sums {
    /// Of inputs that did not change, without a bias.
    pub(crate) fn alone(&self) -> Moments<'_> {
        let (weights, gram) = (&self.weights, &self.gram);
        Moments { weights, gram, cross: None, residual: None, constant: None }
    }

    /// With what was before.
    pub(crate) fn moved(&self) -> Moments<'_> {
        Moments { cross: Some(&self.cross), residual: Some(&self.residual), ..self.alone() }
    }

    /// With what was before, and a bias.
    pub(crate) fn whole(&self) -> Moments<'_> {
        let (tokens, inputs, outputs) = (self.tokens, &self.inputs[..], Some(&self.outputs[..]));
        Moments { constant: Some(Constant { tokens, inputs, residual: outputs }), ..self.moved() }
    }

    /// The three of them.
    pub(crate) fn each(&self) -> [Moments<'_>; 3] {
        [self.alone(), self.moved(), self.whole()]
    }
}

#[track_caller]
pub(crate) fn prepared<'a>(moments: &Moments<'a>, damping: f64) -> Regression<'a> {
    Regression::prepare(gemm(), moments, damping).expect("moments of finite inputs")
}

/// How close a loss comes to that of the twin: cross moments and tableaus have the precision of f32.
pub(crate) const PRECISION: f64 = 1e-5;

#[track_caller]
pub(crate) fn close(found: f64, expected: f64, share: f64) {
    let error = (found - expected).abs();
    assert!(error <= share * expected.abs().max(1e-12), "{found}, not {expected}");
}
