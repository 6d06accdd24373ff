//! Which tokens may be drawn: top-k, top-p and min-p, in this order, at the temperature asked for.
//!
//! The definitions and the order are those of Transformers' logits processors. vLLM's are the same,
//! but for min-p, which it takes first. Top-k: Fan, Lewis and Dauphin 2018, section 5.2; top-p: Holtzman
//! and others 2020, section 3.1; min-p: Nguyen and others 2024, section 3.

use crate::generation::sampler::Sampling;
use std::cmp::Ordering;

/// A token that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) token: u32,
    /// Over the temperature; that of the likeliest token is 0.
    pub(super) logit: f64,
}

/// The tokens that the filters leave, one at least, in no particular order.
pub(super) fn candidates(logits: &[f32], sampling: &Sampling) -> Vec<Candidate> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scaled = |logit: f32| (f64::from(logit) - f64::from(most)) / sampling.temperature;
    let tokens = (0..).zip(logits);
    let mut kept: Vec<_> =
        tokens.map(|(token, &logit)| Candidate { token, logit: scaled(logit) }).collect();
    if let Some(k) = sampling.top_k {
        keep_top_k(&mut kept, k);
    }
    if sampling.top_p < 1.0 {
        keep_top_p(&mut kept, sampling.top_p);
    }
    if sampling.min_p > 0.0 {
        kept.retain(|candidate| candidate.weight() >= sampling.min_p);
    }
    kept
}

/// Those that are as likely as the `k`-th, equals included.
fn keep_top_k(kept: &mut Vec<Candidate>, k: usize) {
    if (1..kept.len()).contains(&k) {
        let (_, kth, _) = kept.select_nth_unstable_by(k - 1, Candidate::likelier);
        let least = kth.logit;
        kept.retain(|candidate| candidate.logit >= least);
    }
}

/// The likeliest, until they are together as likely as `p`; of equals those of lower ids.
fn keep_top_p(kept: &mut Vec<Candidate>, p: f64) {
    kept.sort_unstable_by(Candidate::likelier);
    let total: f64 = kept.iter().map(Candidate::weight).sum();
    let mut before = 0.0;
    let fewest = kept.iter().take_while(|candidate| {
        let is_needed = before < p * total;
        before += candidate.weight();
        is_needed
    });
    let fewest = fewest.count();
    kept.truncate(fewest.max(1));
}

impl Candidate {
    /// Its probability over that of the likeliest.
    fn weight(&self) -> f64 {
        libm::exp(self.logit)
    }

    fn likelier(&self, other: &Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.token.cmp(&other.token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_run::SplitMix64;

    fn softmax(logits: &[f64]) -> Vec<f64> {
        let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
        logits.iter().map(|logit| logit.exp() / total).collect()
    }

    /// One filter after the other, each on the softmax of what the one before has left, as
    /// Transformers' `TopKLogitsWarper`, `TopPLogitsWarper` and `MinPLogitsWarper` do.
    fn slowly(logits: &[f32], sampling: &Sampling) -> Vec<u32> {
        let temperature = sampling.temperature;
        let mut scores: Vec<f64> =
            logits.iter().map(|&logit| f64::from(logit) / temperature).collect();
        if let Some(k) = sampling.top_k {
            let mut sorted = scores.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let least = sorted[k.min(sorted.len()) - 1];
            scores.iter_mut().filter(|s| **s < least).for_each(|s| *s = f64::NEG_INFINITY);
        }
        let probabilities = softmax(&scores);
        let mut rising: Vec<usize> = (0..scores.len()).rev().collect();
        rising.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let mut sum = 0.0;
        for &token in &rising[..rising.len() - 1] {
            sum += probabilities[token];
            if sampling.top_p < 1.0 && sum <= 1.0 - sampling.top_p {
                scores[token] = f64::NEG_INFINITY;
            }
        }
        let probabilities = softmax(&scores);
        let most = probabilities.iter().copied().fold(0.0, f64::max);
        let is_kept = |token: &usize| {
            scores[*token] > f64::NEG_INFINITY && probabilities[*token] >= sampling.min_p * most
        };
        (0..scores.len()).filter(is_kept).map(|token| token as u32).collect()
    }

    #[test]
    fn filters_keep_what_their_definitions_keep() {
        let mut random = SplitMix64::new(3);
        let mut below = |limit: u64| random.next_u64() % limit;
        for _ in 0..400 {
            // Few values, so that there are equals.
            let logits: Vec<f32> = (0..1 + below(60)).map(|_| below(13) as f32 / 3.1).collect();
            let sampling = Sampling {
                temperature: [0.7, 1.0, 1.9][below(3) as usize],
                top_k: [None, Some(1), Some(7), Some(1000)][below(4) as usize],
                // No sum of probabilities is next to one of them.
                top_p: [1.0, 0.123_457, 0.612_347, 0.951_239][below(4) as usize],
                min_p: [0.0, 0.012_347, 0.298_761][below(3) as usize],
                seed: 0,
            };
            let kept = candidates(&logits, &sampling);
            let mut kept: Vec<u32> = kept.iter().map(|candidate| candidate.token).collect();
            kept.sort_unstable();
            assert_eq!(kept, slowly(&logits, &sampling), "{sampling:?} of {logits:?}");
        }
    }
}
