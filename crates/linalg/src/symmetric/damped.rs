//! Gram matrices of any size, with a factor.

use super::Symmetric;
use crate::Gemm;
use crate::factor::Factor;

/// What a matrix is multiplied by, and what is added to its diagonal then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Damping {
    /// What makes the mean of the diagonal one; one where that is zero.
    pub unit: f64,
    /// Added to the diagonal, relative to its mean.
    pub share: f64,
}

/// A matrix that has no factor, however damped.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Undamped {
    /// The mean of the diagonal is not a number, or beyond f64.
    #[error("the mean of the diagonal is not finite")]
    NotFinite,
    /// The matrix is not one of sums of squares.
    #[error("there is no Cholesky factor, even with damping {share}")]
    NotPositiveDefinite {
        /// The damping tried last, relative to the diagonal's mean.
        share: f64,
    },
}

impl Damping {
    /// Calls `work` until it has a result, with a share that is raised tenfold, up to eight times.
    ///
    /// # Errors
    /// [`Undamped::NotPositiveDefinite`] if it never has one.
    pub fn raised_until<T>(
        mut self,
        mut work: impl FnMut(Self) -> Option<T>,
    ) -> Result<(T, Self), Undamped> {
        for _ in 0..ATTEMPTS {
            if let Some(done) = work(self) {
                return Ok((done, self));
            }
            self.share = (self.share * 10.0).max(LEAST);
        }
        Err(Undamped::NotPositiveDefinite { share: self.share / 10.0 })
    }
}

impl Symmetric {
    /// The factor of `self[order, order]` damped by `share`, or where there is none by more:
    /// [`Symmetric::damping`], [`Damping::raised_until`].
    ///
    /// Allocates the result and [`Symmetric::cholesky_bytes`].
    ///
    /// # Errors
    /// [`Undamped`] if no damping helps.
    pub fn damped_cholesky(
        &self,
        order: &[usize],
        share: f64,
    ) -> Result<(Factor, Damping), Undamped> {
        self.damping(share)?.raised_until(|damping| self.damped(order, damping).cholesky().ok())
    }

    /// As [`Symmetric::damped_cholesky`], by [`Symmetric::cholesky_by`]. Allocates the result and
    /// [`Symmetric::cholesky_by_bytes`].
    ///
    /// # Errors
    /// [`Undamped`] if no damping helps.
    pub fn damped_cholesky_by(
        &self,
        gemm: Gemm,
        order: &[usize],
        share: f64,
    ) -> Result<(Factor, Damping), Undamped> {
        let factor = |damping| self.damped(order, damping).cholesky_by(gemm).ok();
        self.damping(share)?.raised_until(factor)
    }

    /// `self[order, order]`, scaled and damped. Allocates the result alone.
    pub fn damped(&self, order: &[usize], damping: Damping) -> Self {
        let mut damped = self.permuted(order);
        damped.scale(damping.unit);
        damped.add_to_diagonal(damping.share);
        damped
    }

    /// A damping by `share` of the diagonal's mean; by one at least where that is zero: of inputs that were
    /// all zero, any multiple of the identity says as much.
    ///
    /// # Errors
    /// [`Undamped::NotFinite`] if the mean is not.
    pub fn damping(&self, share: f64) -> Result<Damping, Undamped> {
        let mean = self.diagonal().iter().sum::<f64>() / self.order().max(1) as f64;
        if !mean.is_finite() {
            return Err(Undamped::NotFinite);
        }
        Ok(match mean.recip() {
            unit if unit.is_finite() => Damping { unit, share },
            _ => Damping { unit: 1.0, share: share.max(1.0) },
        })
    }
}

/// Times that a result is looked for.
const ATTEMPTS: usize = 8;

/// What no share is raised to less than.
const LEAST: f64 = 1e-6;
