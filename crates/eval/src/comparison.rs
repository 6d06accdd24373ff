//! An artifact beside its reference, over windows of tokens.

use crate::bootstrap::{Bootstrap, Estimate, mean};
use crate::histogram::Histogram;
use crate::pair::PairLoss;
use crate::quantile::Sorted;
use serde::Serialize;

/// What the artifact lost. Intervals of all numbers come from the same resamples of windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Of the artifact.
    pub perplexity: Estimate,
    /// Of the reference.
    pub reference_perplexity: Estimate,
    /// The artifact's over the reference's.
    pub perplexity_ratio: Estimate,
    /// From the reference's distribution to the artifact's.
    pub kld: Divergence,
    /// Share of tokens for which both have the same most probable token.
    pub top1: Estimate,
    /// Root mean square of the change of the target's probability.
    pub rms_dp: Estimate,
    /// Tokens by KL divergence.
    pub histogram: Histogram,
}

/// KL divergence over tokens, in nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Divergence {
    /// The mean over all tokens.
    pub mean: Estimate,
    /// Half of the tokens diverge by less.
    pub median: Estimate,
    /// 99 % of the tokens diverge by less.
    pub p99: Estimate,
    /// 99.9 % of the tokens diverge by less.
    pub p99_9: Estimate,
    /// The greatest. Resampling says nothing about those not seen, so there is no interval.
    pub max: f64,
}

/// Compares an artifact with its reference: NaN throughout where there are no tokens.
pub fn compare(windows: &[impl AsRef<[PairLoss]>]) -> Comparison {
    let windows: Vec<&[PairLoss]> = windows.iter().map(AsRef::as_ref).collect();
    let bootstrap = Bootstrap::new(windows.len());
    let counts: Vec<f64> = windows.iter().map(|window| window.len() as f64).collect();
    let sums = |of: fn(&PairLoss) -> f64| -> Vec<f64> {
        windows.iter().map(|window| window.iter().map(of).sum()).collect()
    };
    let exponential =
        |sums: &[f64]| bootstrap.estimate(|times| libm::exp(mean(times, sums, &counts)));
    let squares = sums(|loss| (loss.p - loss.p_reference) * (loss.p - loss.p_reference));
    Comparison {
        perplexity: exponential(&sums(|loss| loss.nll)),
        reference_perplexity: exponential(&sums(|loss| loss.nll_reference)),
        perplexity_ratio: exponential(&sums(|loss| loss.nll - loss.nll_reference)),
        kld: divergence(&windows, bootstrap.mean(&sums(|loss| loss.kld), &counts)),
        top1: bootstrap.mean(&sums(|loss| f64::from(u8::from(loss.agrees))), &counts),
        rms_dp: bootstrap.estimate(|times| mean(times, &squares, &counts).sqrt()),
        histogram: Histogram::new(windows.iter().copied().flatten().map(|loss| loss.kld)),
    }
}

fn divergence(windows: &[&[PairLoss]], mean: Estimate) -> Divergence {
    let klds: Vec<Vec<f64>> =
        windows.iter().map(|window| window.iter().map(|loss| loss.kld).collect()).collect();
    let sorted = Sorted::new(&klds);
    let quantile = |q| Bootstrap::new(windows.len()).estimate(|times| sorted.quantile(times, q));
    Divergence {
        mean,
        median: quantile(0.5),
        p99: quantile(0.99),
        p99_9: quantile(0.999),
        max: klds.iter().flatten().copied().fold(f64::NAN, f64::max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(nll_reference: f64, nll: f64, kld: f64, agrees: bool) -> PairLoss {
        let (p_reference, p) = (libm::exp(-nll_reference), libm::exp(-nll));
        PairLoss { nll_reference, nll, kld, agrees, p_reference, p }
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12 * (1.0 + expected.abs()), "{found} {expected}");
    }

    #[test]
    fn numbers_are_those_of_hand_arithmetic() {
        let windows = [
            vec![loss(1.0, 1.5, 0.1, true), loss(2.0, 2.5, 0.2, false)],
            vec![loss(3.0, 2.5, 0.3, true), loss(0.0, 0.5, 0.6, true)],
        ];
        let found = compare(&windows);
        close(found.perplexity.value, libm::exp(7.0 / 4.0));
        close(found.reference_perplexity.value, libm::exp(6.0 / 4.0));
        close(found.perplexity_ratio.value, libm::exp(0.25));
        close(found.kld.mean.value, 0.3);
        close(found.kld.median.value, 0.25);
        close(found.kld.p99.value, 0.3 + 0.97 * 0.3);
        close(found.kld.max, 0.6);
        assert_eq!(found.top1, Estimate { value: 0.75, low: 0.5, high: 1.0 });
        let squares = [1.0, 2.0, -3.0, 0.0].map(|nll: f64| {
            let changed = if nll < 0.0 { 2.5 } else { nll + 0.5 };
            (libm::exp(-changed) - libm::exp(-nll.abs())).powi(2)
        });
        close(found.rms_dp.value, (squares.iter().sum::<f64>() / 4.0).sqrt());
        assert_eq!(found.histogram.total(), 4);
    }

    #[test]
    fn the_ratio_is_surer_than_the_perplexities_since_windows_are_paired() {
        // Windows differ much from each other, and the artifact little from its reference.
        let windows: Vec<Vec<PairLoss>> = (0..50)
            .map(|i| {
                let nll = 2.0 + f64::from(i % 7) / 3.0;
                vec![loss(nll, nll + 0.01 + f64::from(i % 3) / 1000.0, 0.01, true); 8]
            })
            .collect();
        let found = compare(&windows);
        let width = |estimate: Estimate| (estimate.high - estimate.low) / estimate.value;
        assert!(width(found.perplexity) > 0.2 && width(found.perplexity_ratio) < 0.001);
        assert!(found.perplexity_ratio.low > 1.01 && found.perplexity_ratio.high < 1.0125);
    }

    #[test]
    fn an_artifact_like_its_reference_lost_nothing() {
        let found = compare(&vec![vec![loss(2.0, 2.0, 0.0, true); 10]; 4]);
        let exactly = |value| Estimate { value, low: value, high: value };
        assert_eq!((found.perplexity_ratio, found.top1), (exactly(1.0), exactly(1.0)));
        assert_eq!((found.kld.mean, found.kld.p99_9), (exactly(0.0), exactly(0.0)));
        assert_eq!((found.rms_dp, found.kld.max), (exactly(0.0), 0.0));
        assert_eq!(found.histogram.below, 40);
    }

    #[test]
    fn a_hundred_thousand_tokens_take_a_moment() {
        let windows: Vec<Vec<PairLoss>> = (0..400)
            .map(|w| {
                (0..256).map(|t| loss(2.0, 2.1, f64::from(w * t % 977) / 1e4, t % 9 > 0)).collect()
            })
            .collect();
        let start = std::time::Instant::now();
        let found = compare(&windows);
        assert!(
            found.kld.p99.low <= found.kld.p99.value && found.kld.p99.value <= found.kld.p99.high
        );
        assert!(start.elapsed().as_secs_f64() < 10.0, "{:?}", start.elapsed());
    }
}
