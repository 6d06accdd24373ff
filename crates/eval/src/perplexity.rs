//! Perplexity of one model.

use crate::bootstrap::{Bootstrap, Estimate, mean};
use crate::single::TokenLoss;

/// The perplexity over windows of tokens: NaN where there are none.
pub fn perplexity(windows: &[impl AsRef<[TokenLoss]>]) -> Estimate {
    let tokens = || windows.iter().map(AsRef::as_ref);
    let sums: Vec<f64> = tokens().map(|of| of.iter().map(|loss| loss.nll).sum()).collect();
    let counts: Vec<f64> = tokens().map(|of| of.len() as f64).collect();
    Bootstrap::new(windows.len()).estimate(|times| libm::exp(mean(times, &sums, &counts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(nlls: &[f64]) -> Vec<TokenLoss> {
        nlls.iter().map(|&nll| TokenLoss { nll, top1: 0 }).collect()
    }

    #[test]
    fn perplexity_is_the_exponential_of_the_mean_over_tokens() {
        let found = perplexity(&[window(&[1.0, 2.0, 3.0]), window(&[6.0])]);
        assert!((found.value - libm::exp(3.0)).abs() < 1e-12);
        assert!((found.low - libm::exp(2.0)).abs() < 1e-12);
        assert!((found.high - libm::exp(6.0)).abs() < 1e-9);
    }

    #[test]
    fn a_vocabulary_of_equals_has_its_size_as_perplexity() {
        let found = perplexity(&vec![window(&[libm::log(100.0); 9]); 5]);
        for value in [found.value, found.low, found.high] {
            assert!((value - 100.0).abs() < 1e-9);
        }
    }

    #[test]
    fn no_tokens_have_no_perplexity() {
        assert!(perplexity(&[] as &[Vec<TokenLoss>]).value.is_nan());
    }
}
