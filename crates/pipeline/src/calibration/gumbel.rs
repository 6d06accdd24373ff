//! Draws from a softmax whose logits come piece by piece.
//!
//! The token with the greatest `logit + g`, where every `g` is drawn from the standard Gumbel
//! distribution, is a draw from the softmax of the logits (Gumbel 1954; Yellott 1977). So neither the
//! greatest logit nor the sum has to be known before.

use crate::random::SplitMix64;
use std::f64::consts::LN_2;

/// The token that wins so far, and its logit with noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Best {
    score: f64,
    token: u32,
}

impl Best {
    /// No token yet.
    pub(super) const NONE: Self = Self { score: f64::NEG_INFINITY, token: 0 };

    pub(super) fn token(&self) -> u32 {
        self.token
    }

    /// Looks at the logits of the tokens from `first` on. The noise of a token is its own output of
    /// `random`.
    pub(super) fn update(&mut self, random: SplitMix64, first: usize, logits: &[f32]) {
        for (token, &logit) in (first as u32..).zip(logits) {
            let (bits, logit) = (random.nth(token.into()), f64::from(logit));
            // Most tokens cannot win, and are spared two logarithms.
            if logit + at_most(bits) <= self.score {
                continue;
            }
            let score = logit + gumbel(bits);
            if score > self.score {
                *self = Self { score, token };
            }
        }
    }
}

/// `-ln(-ln u)` where `u` is the middle of one of 2^52 equal parts of the unit interval.
fn gumbel(bits: u64) -> f64 {
    let u = ((bits >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
    -libm::log(-libm::log(u))
}

/// A bound on the noise: `-ln u >= 1 - u`, and each leading one of the bits halves `1 - u`.
fn at_most(bits: u64) -> f64 {
    f64::from(bits.leading_ones().min(52) + 1) * LN_2
}
