//! The loss of one model at one position, from logits that come in slices of the vocabulary.

use crate::exponential::{self, sum_of_exponentials};
use crate::extreme::Extreme;

/// What one model made of one position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenLoss {
    /// Negative logarithm of the target's probability, in nats.
    pub nll: f64,
    /// The token with the greatest logit; the first of those with equal ones.
    pub top1: u32,
}

impl TokenLoss {
    /// Whether the logits were numbers, the target among them. No statistic takes any other loss.
    pub fn is_finite(&self) -> bool {
        self.nll.is_finite()
    }
}

/// An online softmax over one position's logits.
///
/// Differences, exponentials and sums are in f64, right to some parts in 10^14. The result depends
/// on how the vocabulary was cut, but not beyond that.
#[derive(Clone, Copy, Debug)]
pub struct Single {
    target: u32,
    model: Softmax,
}

impl Single {
    /// Before the first logit, for a position whose next token is `target`.
    pub fn new(target: u32) -> Self {
        Self { target, model: Softmax::default() }
    }

    /// Takes the logits of the tokens from `first` on. Slices may come in any order, each token
    /// once.
    pub fn update(&mut self, first: usize, logits: &[f32]) {
        self.model.raise(first, self.target, logits);
        self.model.sum += sum_of_exponentials(logits, self.model.greatest);
    }

    /// The loss, once the whole vocabulary was seen.
    pub fn finish(self) -> TokenLoss {
        TokenLoss { nll: self.model.nll(), top1: self.model.top1 }
    }
}

/// What is known of one model's logits so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Softmax {
    pub(crate) greatest: f64,
    pub(crate) top1: u32,
    /// Of the exponentials of the logits less the greatest.
    pub(crate) sum: f64,
    target_logit: f64,
}

impl Default for Softmax {
    fn default() -> Self {
        Self { greatest: f64::NEG_INFINITY, top1: u32::MAX, sum: 0.0, target_logit: f64::NAN }
    }
}

impl Softmax {
    /// Makes ready for the logits of a slice: by how much that scales what was summed before.
    pub(crate) fn raise(&mut self, first: usize, target: u32, logits: &[f32]) -> f64 {
        if let Some(logit) =
            (target as usize).checked_sub(first).and_then(|place| logits.get(place))
        {
            self.target_logit = f64::from(*logit);
        }
        let extreme = Extreme::of(logits);
        if !extreme.sound {
            self.target_logit = f64::NAN;
            self.sum = f64::NAN;
        }
        let greatest = f64::from(extreme.greatest);
        let mut scale = 1.0;
        if greatest > self.greatest {
            scale = exponential::of(self.greatest - greatest);
            self.sum *= scale;
        }
        if greatest > self.greatest || (greatest == self.greatest && first < self.top1 as usize) {
            let place = logits.iter().position(|&logit| logit == extreme.greatest);
            self.top1 = u32::try_from(first + place.unwrap_or(0)).unwrap_or(u32::MAX);
            self.greatest = greatest;
        }
        scale
    }

    /// Logarithm of the sum of all exponentials, less the greatest logit.
    pub(crate) fn log_sum(&self) -> f64 {
        libm::log(self.sum)
    }

    pub(crate) fn nll(&self) -> f64 {
        (self.greatest - self.target_logit) + self.log_sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exponential::testing::{cut, logits};

    /// Two passes in f64: the greatest first, then libm's exponentials.
    fn twin(logits: &[f32], target: usize) -> TokenLoss {
        let greatest = logits.iter().fold(f64::NEG_INFINITY, |most, &x| most.max(f64::from(x)));
        let sum: f64 = logits.iter().map(|&x| libm::exp(f64::from(x) - greatest)).sum();
        let top1 = logits.iter().position(|&x| f64::from(x) == greatest).unwrap();
        let nll = greatest + libm::log(sum) - f64::from(logits[target]);
        TokenLoss { nll, top1: top1 as u32 }
    }

    fn loss(logits: &[f32], target: usize, slice: usize) -> TokenLoss {
        let mut single = Single::new(target as u32);
        for (first, part) in cut(logits, slice) {
            single.update(first, part);
        }
        single.finish()
    }

    fn check(logits: &[f32], target: usize) {
        let expected = twin(logits, target);
        for slice in [1, 7, 100, 1000, logits.len()] {
            let found = loss(logits, target, slice);
            assert_eq!(found.top1, expected.top1, "slices of {slice}");
            let close = (found.nll - expected.nll).abs() < 1e-12 * (1.0 + expected.nll.abs());
            assert!(close, "{} is not {} with slices of {slice}", found.nll, expected.nll);
        }
    }

    #[test]
    fn any_cut_of_the_vocabulary_gives_the_loss_of_the_whole() {
        for (seed, size, spread) in [(1, 1, 1.0), (2, 33, 3.0), (3, 1999, 8.0), (4, 4097, 30.0)] {
            let logits = logits(seed, size, spread);
            check(&logits, 0);
            check(&logits, size / 2);
            check(&logits, size - 1);
        }
    }

    #[test]
    fn huge_logits_and_masked_ones_are_exact() {
        let huge: Vec<f32> = logits(5, 999, 5.0).iter().map(|x| x * 1e4 - 3e4).collect();
        check(&huge, 17);
        let mut masked = logits(6, 999, 5.0);
        masked[..500].fill(f32::NEG_INFINITY);
        check(&masked, 998);
        check(&[f32::MAX, f32::MIN], 0);
    }

    #[test]
    fn the_first_of_equal_logits_is_the_top_one_whatever_the_order_of_slices() {
        let logits = [1.0, 3.0, 2.0, 3.0, 3.0];
        for slice in 1..6 {
            assert_eq!(loss(&logits, 0, slice).top1, 1);
        }
        let mut single = Single::new(0);
        single.update(3, &logits[3..]);
        single.update(0, &logits[..3]);
        assert_eq!(single.finish().top1, 1);
    }

    #[test]
    fn what_is_no_number_makes_a_loss_that_is_not_finite() {
        let check = |logits: &[f32], target, finite| {
            for slice in 1..=logits.len() {
                assert_eq!(loss(logits, target, slice).is_finite(), finite, "{logits:?}");
            }
        };
        check(&[0.0, 1.0, 2.0], 1, true);
        check(&[0.0, f32::NEG_INFINITY, 2.0], 0, true);
        check(&[0.0, f32::NEG_INFINITY, 2.0], 1, false);
        check(&[f32::NAN, 1.0, 2.0], 1, false);
        check(&[0.0, 1.0, f32::NAN], 0, false);
        check(&[0.0, f32::INFINITY, 2.0], 1, false);
        check(&[f32::NEG_INFINITY; 3], 1, false);
        let unseen = Single::new(3);
        assert!(!unseen.finish().is_finite());
    }
}
