//! Two artifacts held against each other: each by its divergence from the reference, window by window.

use crate::bootstrap::{Bootstrap, Estimate};
use crate::pair::PairLoss;

/// KL divergence of an artifact from its reference, summed up over each window.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowKlds {
    /// Nats.
    sums: Vec<f64>,
    /// Tokens.
    counts: Vec<f64>,
}

impl WindowKlds {
    /// The sums over windows of losses.
    pub fn new(windows: &[impl AsRef<[PairLoss]>]) -> Self {
        let windows = || windows.iter().map(AsRef::as_ref);
        let sum = |window: &[PairLoss]| window.iter().map(|loss| loss.kld).sum();
        Self {
            sums: windows().map(sum).collect(),
            counts: windows().map(|window| window.len() as f64).collect(),
        }
    }

    /// The mean over tokens, in nats.
    pub fn mean(&self) -> Estimate {
        Bootstrap::new(self.sums.len()).mean(&self.sums, &self.counts)
    }

    /// Whether the mean is at most `limit`, with the upper end of its interval where there is one.
    pub fn holds(&self, limit: f64) -> bool {
        let mean = self.mean();
        mean.interval().map_or(mean.value, |(_, high)| high) <= limit
    }

    /// How much more it diverges than `other` did on the same windows, in nats per token. Windows are drawn in
    /// pairs, so that the interval does not hold what both find hard.
    pub fn beyond(&self, other: &Self) -> Estimate {
        let differences: Vec<f64> = self.sums.iter().zip(&other.sums).map(|(a, b)| a - b).collect();
        Bootstrap::new(differences.len()).mean(&differences, &self.counts)
    }

    /// Whether it diverges less than `other`, beyond the interval of the difference. Of a single window there is
    /// no interval, and nothing is less.
    pub fn is_below(&self, other: &Self) -> bool {
        self.beyond(other).interval().is_some_and(|(_, high)| high < 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn klds(of_windows: &[f64]) -> WindowKlds {
        let loss = |&kld: &f64| {
            vec![
                PairLoss {
                    nll_reference: 1.0,
                    nll: 1.0,
                    kld,
                    agrees: true,
                    p_reference: 0.5,
                    p: 0.5
                };
                4
            ]
        };
        WindowKlds::new(&of_windows.iter().map(loss).collect::<Vec<_>>())
    }

    #[test]
    fn pairs_tell_apart_what_intervals_alone_do_not() {
        let hard: Vec<f64> = (0..32).map(|window| 0.1 + f64::from(window % 8) / 10.0).collect();
        let better: Vec<f64> = hard.iter().map(|kld| kld * 0.97).collect();
        let (worse, better) = (klds(&hard), klds(&better));
        let (low, high) = (better.mean().low, worse.mean().high);
        assert!(better.mean().high > worse.mean().low && low < high, "intervals overlap");
        assert!(better.is_below(&worse) && !worse.is_below(&better));
        assert!((better.beyond(&worse).value + 0.03 * 0.45).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_below_itself_or_on_one_window() {
        let found = klds(&[0.1, 0.2, 0.3]);
        assert!(!found.is_below(&found));
        assert!(!klds(&[0.1]).is_below(&klds(&[0.2])));
    }
}
