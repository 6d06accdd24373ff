//! Which token comes next.

use llmopt_run::{GOLDEN, SplitMix64};

/// Draws tokens of one sequence. The draws depend on the seed and the sequence's number alone.
pub(super) struct Sampler {
    temperature: f64,
    random: SplitMix64,
}

impl Sampler {
    pub(super) fn new(temperature: f64, seed: u64, sequence: u64) -> Self {
        // A first step apart, so that sequences of neighbouring numbers share nothing.
        let first = SplitMix64::new(seed).next_u64();
        Self { temperature, random: SplitMix64::new(first ^ sequence.wrapping_mul(GOLDEN)) }
    }

    /// The most likely token, the first of equals, at temperature 0; else one drawn from
    /// `softmax(logits / temperature)`.
    pub(super) fn drawn(&mut self, logits: &[f32]) -> u32 {
        let best = most_likely(logits);
        if self.temperature == 0.0 {
            return best as u32;
        }
        let most = f64::from(logits[best]);
        let weight = |logit: &f32| libm::exp((f64::from(*logit) - most) / self.temperature);
        let total: f64 = logits.iter().map(weight).sum();
        let aim = self.uniform() * total;
        let weight = |logit: &f32| libm::exp((f64::from(*logit) - most) / self.temperature);
        let sums = logits.iter().scan(0.0, |sum, logit| {
            *sum += weight(logit);
            Some(*sum)
        });
        // Beyond the last only by rounding.
        sums.into_iter().position(|sum| sum > aim).unwrap_or(best) as u32
    }

    /// A number from 0 up to, but not including, 1.
    fn uniform(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The token with the greatest logit, the first of equals.
pub(crate) fn most_likely(logits: &[f32]) -> usize {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_temperature_the_first_of_the_greatest_is_taken() {
        assert_eq!(Sampler::new(0.0, 7, 0).drawn(&[0.5, 2.0, -1.0, 2.0]), 1);
    }

    #[test]
    fn draws_follow_the_distribution() {
        let mut sampler = Sampler::new(0.5, 3, 1);
        let mut counts = [0.0; 3];
        const DRAWS: usize = 20_000;
        (0..DRAWS).for_each(|_| counts[sampler.drawn(&[0.0, 0.5, 1.0]) as usize] += 1.0);
        // exp(0), exp(1), exp(2) over their sum; three standard deviations are about .01.
        for (count, expected) in counts.iter().zip([0.0900, 0.2447, 0.6652]) {
            assert!((count / DRAWS as f64 - expected).abs() < 0.012, "{counts:?}");
        }
    }
}
