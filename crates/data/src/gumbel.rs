//! Draws from a softmax whose logits come piece by piece.
//!
//! The token with the greatest `logit + g`, where every `g` is drawn from the standard Gumbel
//! distribution, is a draw from the softmax of the logits (Gumbel 1954; Yellott 1977). So neither the
//! greatest logit nor the sum has to be known before.

use llmopt_run::SplitMix64;
use std::f64::consts::LN_2;

/// The token that wins so far, and its logit with noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GumbelMax {
    score: f64,
    token: u32,
}

impl GumbelMax {
    /// No token yet.
    pub const NONE: Self = Self { score: f64::NEG_INFINITY, token: 0 };

    /// The token that won.
    pub fn token(&self) -> u32 {
        self.token
    }

    /// Looks at the logits of the tokens from `first` on, each divided by `temperature` first. The
    /// noise of a token is its own output of `random`.
    pub fn update(&mut self, random: SplitMix64, first: usize, logits: &[f32], temperature: f64) {
        for (token, &logit) in (first as u32..).zip(logits) {
            self.offer(random, token, f64::from(logit) / temperature);
        }
    }

    /// Looks at one token, whose logit is divided by the temperature already.
    pub fn offer(&mut self, random: SplitMix64, token: u32, logit: f64) {
        let bits = random.nth(token.into());
        // Most tokens cannot win, and are spared two logarithms.
        if logit + at_most(bits) <= self.score {
            return;
        }
        let score = logit + gumbel(bits);
        if score > self.score {
            *self = Self { score, token };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The same draw with all noise computed.
    fn slowly(random: SplitMix64, logits: &[f32], temperature: f64) -> u32 {
        let noise = |token: usize| gumbel(random.nth(token as u64));
        let score = |token: usize| f64::from(logits[token]) / temperature + noise(token);
        let best = (0..logits.len()).max_by(|&a, &b| score(a).total_cmp(&score(b)));
        best.expect("a token") as u32
    }

    fn drawn(random: SplitMix64, pieces: &[&[f32]], temperature: f64) -> u32 {
        let (mut best, mut first) = (GumbelMax::NONE, 0);
        for piece in pieces {
            best.update(random, first, piece, temperature);
            first += piece.len();
        }
        best.token()
    }

    #[test]
    fn draws_follow_the_softmax() {
        const DRAWS: u64 = 40_000;
        let logits = [0.5, -1.0, 2.0, 1.0, -3.0];
        let check = |temperature, expected: [f64; 5]| {
            let (mut counts, random) = ([0.0; 5], SplitMix64::new(11));
            let draw = |n| drawn(random.forked(n), &[&logits], temperature) as usize;
            (0..DRAWS).for_each(|n| counts[draw(n)] += 1.0);
            // Three standard deviations are below .0075.
            for (count, expected) in counts.iter().zip(expected) {
                assert!((count / DRAWS as f64 - expected).abs() < 0.0075, "{counts:?}");
            }
        };
        // exp of the logits over their sum, 12.17; of half of them over theirs, 6.481.
        check(1.0, [0.13546, 0.03023, 0.60709, 0.22334, 0.00409]);
        check(2.0, [0.19812, 0.09359, 0.41941, 0.25439, 0.03443]);
    }

    #[test]
    fn neither_pieces_nor_skipped_noise_change_a_draw() {
        let mut random = SplitMix64::new(5);
        let logits: Vec<f32> = (0..701).map(|_| (random.next_u64() >> 50) as f32 / 1e3).collect();
        for number in 0..500 {
            let random = random.forked(number);
            let temperature = [1.0, 1.3][number as usize % 2];
            let expected = slowly(random, &logits, temperature);
            assert_eq!(drawn(random, &[&logits], temperature), expected);
            let (a, b) = logits.split_at(256);
            assert_eq!(drawn(random, &[a, b, &[]], temperature), expected);
        }
    }

    #[test]
    fn noise_is_finite_and_within_its_bound() {
        let mut random = SplitMix64::new(1);
        let edges =
            [0, 1 << 12, 1 << 63, u64::MAX, u64::MAX << 12, u64::MAX - (1 << 12), !(1 << 62)];
        for bits in edges.into_iter().chain((0..10_000).map(|_| random.next_u64())) {
            let noise = gumbel(bits);
            assert!(noise.is_finite() && noise <= at_most(bits), "{bits:x}: {noise}");
        }
    }
}
