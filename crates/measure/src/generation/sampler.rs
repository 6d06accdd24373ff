//! Which token comes next.
//!
//! Sampling adds Gumbel noise to the logits and takes the greatest sum, which is a draw from their
//! softmax (Maddison, Tarlow and Minka 2014, section 2). The noise of a token follows from the seed, the
//! token's position and the token alone, as in drafter-invariant speculation (Daliri, Musco and Suresh
//! 2024): there is no state, and what runs beside a sequence decides nothing.

use crate::generation::filter::candidates;
use llmopt_data::GumbelMax;
use llmopt_run::SplitMix64;

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the most likely token every time; above, tokens are drawn.
    pub temperature: f64,
    /// Draws are among so many of the likeliest; `None` for all.
    pub top_k: Option<usize>,
    /// Draws are among the fewest of the likeliest that together are this likely; 1 for all.
    pub top_p: f64,
    /// Draws are among those that are at least this times as likely as the likeliest; 0 for all.
    pub min_p: f64,
    /// What decides the draws.
    pub seed: u64,
}

impl Sampling {
    /// The most likely token every time.
    pub const GREEDY: Self =
        Self { temperature: 0.0, top_k: None, top_p: 1.0, min_p: 0.0, seed: 0 };

    /// The token at `position` of its sequence: the most likely one, the first of equals, at
    /// temperature 0; else one drawn from what the filters leave.
    pub(super) fn drawn(&self, logits: &[f32], position: usize) -> u32 {
        if self.temperature == 0.0 {
            return most_likely(logits);
        }
        let noise = SplitMix64::new(self.seed).forked(position as u64);
        let mut winner = GumbelMax::NONE;
        for candidate in candidates(logits, self) {
            winner.offer(noise, candidate.token, candidate.logit);
        }
        winner.token()
    }
}

/// The token with the greatest logit, the first of equals.
pub(crate) fn most_likely(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(temperature: f64, seed: u64) -> Sampling {
        Sampling { temperature, seed, ..Sampling::GREEDY }
    }

    /// How often each token is drawn at one of many positions.
    fn shares(sampling: Sampling, logits: &[f32]) -> Vec<f64> {
        const DRAWS: usize = 40_000;
        let mut counts = vec![0.0; logits.len()];
        (0..DRAWS).for_each(|position| counts[sampling.drawn(logits, position) as usize] += 1.0);
        counts.into_iter().map(|count| count / DRAWS as f64).collect()
    }

    #[track_caller]
    fn check(found: &[f64], expected: &[f64]) {
        // Three standard deviations are below .0075.
        let near =
            found.iter().zip(expected).all(|(found, wanted)| (found - wanted).abs() < 0.0075);
        assert!(near && found.len() == expected.len(), "{found:?}, expected {expected:?}");
    }

    #[test]
    fn without_temperature_the_first_of_the_greatest_is_taken() {
        assert_eq!(Sampling::GREEDY.drawn(&[0.5, 2.0, -1.0, 2.0], 3), 1);
    }

    #[test]
    fn draws_follow_the_softmax_over_positions_and_over_seeds() {
        // exp(0), exp(1), exp(2) over their sum.
        let (logits, expected) = ([0.0, 0.5, 1.0], [0.0900, 0.2447, 0.6652]);
        check(&shares(sampling(0.5, 3), &logits), &expected);
        let mut counts = [0.0; 3];
        (0..40_000).for_each(|seed| counts[sampling(0.5, seed).drawn(&logits, 9) as usize] += 1.0);
        check(&counts.map(|count| count / 40_000.0), &expected);
    }

    #[test]
    fn draws_follow_the_softmax_of_what_the_filters_leave() {
        // Probabilities .4, .3, .2 and .1.
        let logits = [0.4_f32, 0.1, 0.3, 0.2].map(f32::ln);
        let one = sampling(1.0, 5);
        let (thirds, halves) = ([4.0 / 7.0, 0.0, 3.0 / 7.0, 0.0], [1.0, 0.0, 0.0, 0.0]);
        check(&shares(Sampling { top_k: Some(2), ..one }, &logits), &thirds);
        check(&shares(Sampling { top_p: 0.65, ..one }, &logits), &thirds);
        check(&shares(Sampling { min_p: 0.7, ..one }, &logits), &thirds);
        check(&shares(Sampling { top_p: 0.01, ..one }, &logits), &halves);
    }

    #[test]
    fn a_draw_depends_on_seed_and_position_alone() {
        let logits: Vec<f32> = (0..97).map(|token| ((token * 29) % 97) as f32 / 40.0).collect();
        let drawn = |seed, position| sampling(1.0, seed).drawn(&logits, position);
        let once: Vec<u32> = (0..50).map(|position| drawn(7, position)).collect();
        let backwards: Vec<u32> = (0..50).rev().map(|position| drawn(7, position)).collect();
        assert!(once.iter().eq(backwards.iter().rev()));
        assert_ne!(once, (0..50).map(|position| drawn(8, position)).collect::<Vec<_>>());
    }

    #[test]
    fn a_temperature_next_to_nothing_takes_the_likeliest() {
        let logits = [1.0, 90.0, 89.999, -3.0];
        assert!((0..100).all(|position| sampling(1e-300, 1).drawn(&logits, position) == 1));
    }
}
