//! The outputs that are asked for, and what the weights that yield them are drawn to.

use crate::centred;
use crate::gather::gathered;
use crate::moments::{Constant, Moments};
use llmopt_linalg::{Damping, Gemm, NotPositiveDefinite, Symmetric, Undamped, wide};
use std::borrow::Cow;

/// A damped least squares problem: weights V for some of the inputs that bring the outputs `V x` close
/// to `t`, and stay close to the original weights.
///
/// With `H = sum x x^T` scaled so that the mean of its diagonal is one, what is minimized is
/// `sum |t - V x|^2 + damping |V - W|^2`, where weights of inputs that are gone are zero (the
/// layer-wise objective of ZipLM, 2302.04089, section 3.1, and OSSCAR, 2403.12983, against the
/// original model's outputs).
///
/// Work is spread over the rayon pool in which it is called. Results do not depend on the number of
/// threads.
pub struct Regression<'a> {
    pub(crate) weights: &'a [f32],
    pub(crate) gram: Cow<'a, Symmetric>,
    /// Sum of `(t - W x) x^T` in the unit of the damping.
    pub(crate) residual: Option<Vec<f32>>,
    pub(crate) constant: Option<Constant<'a>>,
    pub(crate) damping: Damping,
    /// Columns that show nothing: zero on all tokens, or constant beside a constant.
    pub(crate) dead: Vec<bool>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum RegressionError {
    /// The moments or the weights are wrong.
    #[error("a moment of the inputs or a weight is not finite")]
    NotFinite,
    /// The moments are wrong: what they sum up cannot have been squares.
    #[error("the Gram matrix of the inputs has no Cholesky factor, even with damping {damping}")]
    NotPositiveDefinite {
        /// The damping tried last.
        damping: f64,
    },
}

impl<'a> Regression<'a> {
    /// Makes the moments ready. `damping` is relative to the mean of the Gram matrix's diagonal; where
    /// that turns out to be too little for the arithmetic it is raised: see [`Regression::damping`].
    ///
    /// Allocates [`Regression::prepare_bytes`].
    ///
    /// # Errors
    /// [`RegressionError`] if the moments are not those of finite inputs, or weights are not finite.
    ///
    /// # Panics
    /// If the sizes of the moments do not fit together.
    pub fn prepare(
        gemm: Gemm,
        moments: &Moments<'a>,
        damping: f64,
    ) -> Result<Self, RegressionError> {
        moments.check();
        let (gram, dead) = centred::gram(moments);
        let damping = gram.damping(damping)?;
        let residual = centred::residual(gemm, moments, &dead, damping.unit);
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        if !finite(moments.weights) || !residual.as_deref().is_none_or(finite) {
            return Err(RegressionError::NotFinite);
        }
        let (weights, constant) = (moments.weights, moments.constant);
        Ok(Self { weights, gram, residual, constant, damping, dead })
    }

    /// The most memory that [`Regression::prepare`] takes on so many threads for weights
    /// `[rows, columns]`; what the regression keeps, [`Regression::bytes`], is part of it.
    pub fn prepare_bytes(gemm: Gemm, rows: usize, columns: usize, threads: usize) -> u64 {
        let vectors = columns * (size_of::<usize>() + 2 * size_of::<f64>());
        let residual = (rows * columns * size_of::<f32>()) as u64
            + (gemm.ordered_products_bytes(columns, threads) + columns * size_of::<usize>()) as u64;
        let centred = Symmetric::bytes(columns) + columns as u64;
        let adding = Symmetric::add_outer_bytes(columns, threads) as u64;
        // What multiplying in f64 takes, a thread keeps.
        centred + vectors as u64 + adding + residual
    }

    /// The memory that a regression holds at most: a Gram matrix of its own where there is a constant,
    /// and the residual where outputs have one.
    pub fn bytes(rows: usize, columns: usize) -> u64 {
        let residual = rows * columns * size_of::<f32>();
        Symmetric::bytes(columns) + (residual + columns) as u64
    }

    /// Length of an input.
    pub fn columns(&self) -> usize {
        self.gram.order()
    }

    /// Length of an output.
    pub fn rows(&self) -> usize {
        self.weights.len() / self.columns().max(1)
    }

    /// What was added to the diagonal of the Gram matrix, relative to its mean: what was asked for, or where
    /// that was too little for what has been computed so far, more.
    pub fn damping(&self) -> f64 {
        self.damping.share
    }

    /// How many columns show nothing: zero on all tokens or, where there is a bias, constant. They are
    /// the first to be removed.
    pub fn dead_columns(&self) -> usize {
        self.dead.iter().filter(|&&dead| dead).count()
    }

    /// Sum of `|W x|^2`, with a constant that of what varies: what a report divides losses by.
    /// Allocates [`Symmetric::quadratic_bytes`] and a number for each row.
    pub fn energy(&self) -> f64 {
        self.gram.quadratic(self.weights).iter().sum()
    }

    /// The right-hand side of the normal equations for `columns`, beyond the original weights of what is not removed,
    /// `[rows, columns.len()]`: the residual, and what the removed columns gave.
    ///
    /// Allocates its result and [`Regression::right_hand_side_bytes`].
    pub(crate) fn right_hand_side(&self, removed: &[usize], columns: &[usize]) -> Vec<f64> {
        let mut sums = match &self.residual {
            Some(residual) => gathered(residual, self.columns(), columns),
            None => vec![0.0; self.rows() * columns.len()],
        };
        for chunk in removed.chunks(CHUNK) {
            let given = self.live_weights(chunk);
            let mut moments = self.gram.block(columns, chunk);
            for (&column, moments) in columns.iter().zip(moments.chunks_exact_mut(chunk.len())) {
                for (&other, moment) in chunk.iter().zip(moments) {
                    *moment *= self.damping.unit;
                    *moment += if other == column { self.damping.share } else { 0.0 };
                }
            }
            wide::add_product_transposed(&mut sums, 1.0, &given, &moments, chunk.len());
        }
        sums
    }

    /// The most memory that [`Regression::right_hand_side`] takes beside its result.
    pub(crate) fn right_hand_side_bytes(rows: usize, columns: usize, threads: usize) -> u64 {
        let chunk = (rows + columns) * CHUNK.min(columns) * size_of::<f64>();
        (chunk + wide::add_product_transposed_bytes(threads)) as u64
    }

    /// Some columns of the weights, zeros for those that nothing was seen of.
    pub(crate) fn live_weights(&self, columns: &[usize]) -> Vec<f64> {
        let mut weights = gathered(self.weights, self.columns(), columns);
        if columns.iter().any(|&column| self.dead[column]) {
            for row in weights.chunks_exact_mut(columns.len()) {
                for (&column, weight) in columns.iter().zip(row) {
                    *weight = if self.dead[column] { 0.0 } else { *weight };
                }
            }
        }
        weights
    }

    /// Does something, if need be with more damping, and keeps that.
    pub(crate) fn steadied<T>(
        &mut self,
        work: impl Fn(&Self) -> Result<T, NotPositiveDefinite>,
    ) -> Result<T, RegressionError> {
        let before = self.damping;
        let tried = before.raised_until(|damping| {
            self.damping = damping;
            work(self).ok()
        });
        self.damping = tried.as_ref().map_or(before, |(_, enough)| *enough);
        Ok(tried?.0)
    }
}

impl From<Undamped> for RegressionError {
    fn from(undamped: Undamped) -> Self {
        match undamped {
            Undamped::NotFinite => Self::NotFinite,
            Undamped::NotPositiveDefinite { share } => Self::NotPositiveDefinite { damping: share },
        }
    }
}

/// Columns that are taken in or out of sums together.
pub(crate) const CHUNK: usize = 128;
