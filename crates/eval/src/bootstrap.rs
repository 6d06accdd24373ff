//! Confidence intervals by resampling whole windows.
//!
//! Tokens of one window share their context, so windows are drawn, not tokens. Every statistic draws
//! the same windows: an interval of a ratio of two models is that of pairs.

use serde::Serialize;

/// A number with its 95 % confidence interval.
///
/// The interval goes from the 2.5th to the 97.5th percentile of 1000 resamples. It holds what the
/// choice of these windows out of all such text may change; of few windows it is too narrow, and of
/// a single one there is none: `low` and `high` are NaN then, `null` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// From the windows as they are.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

impl Estimate {
    /// A number that no window was drawn for: it has no interval.
    pub fn without_interval(value: f64) -> Self {
        Self { value, low: f64::NAN, high: f64::NAN }
    }

    /// The interval's ends, where there is one.
    pub fn interval(&self) -> Option<(f64, f64)> {
        (self.low.is_finite() && self.high.is_finite()).then_some((self.low, self.high))
    }
}

/// Resamples of so many windows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bootstrap {
    windows: usize,
}

impl Bootstrap {
    pub(crate) fn new(windows: usize) -> Self {
        Self { windows }
    }

    /// An estimate of `statistic`, which takes how often each window was drawn.
    pub(crate) fn estimate(self, statistic: impl Fn(&[u32]) -> f64) -> Estimate {
        let mut times = vec![1; self.windows];
        let value = statistic(&times);
        if self.windows < 2 {
            return Estimate::without_interval(value);
        }
        let mut random = Random::new(SEED);
        let mut resampled: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                times.fill(0);
                for _ in 0..self.windows {
                    times[random.below(self.windows)] += 1;
                }
                statistic(&times)
            })
            .collect();
        resampled.sort_by(f64::total_cmp);
        // As many are left out on either side.
        let outside = RESAMPLES / 40;
        Estimate { value, low: resampled[outside], high: resampled[RESAMPLES - 1 - outside] }
    }

    /// An estimate of the mean over tokens, or over whatever the windows hold `counts` of, from sums
    /// per window.
    pub(crate) fn mean(self, sums: &[f64], counts: &[f64]) -> Estimate {
        self.estimate(|times| mean(times, sums, counts))
    }
}

/// The sum of `sums` over that of `counts`, each as often as its window was drawn.
pub(crate) fn mean(times: &[u32], sums: &[f64], counts: &[f64]) -> f64 {
    let total = |of: &[f64]| -> f64 {
        times.iter().zip(of).map(|(&times, of)| f64::from(times) * of).sum()
    };
    total(sums) / total(counts)
}

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Any of the numbers below `end`, with a bias of at most `end / 2^64`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

const RESAMPLES: usize = 1000;
const SEED: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = Random::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([random.next(), random.next()], expected);
    }

    #[test]
    fn draws_are_spread_evenly() {
        let mut random = Random::new(7);
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            counts[random.below(10)] += 1;
        }
        assert!(counts.iter().all(|count| (9_700..10_300).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_approximation() {
        // Windows of 0 and 1 in turn: a standard deviation of a half, over the root of 400.
        let sums: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let found = Bootstrap::new(400).mean(&sums, &[1.0; 400]);
        assert_eq!(found.value, 0.5);
        let half = 1.96 * 0.5 / 20.0;
        assert!((found.high - 0.5 - half).abs() < 0.008, "{found:?}");
        assert!((0.5 - found.low - half).abs() < 0.008, "{found:?}");
    }

    #[test]
    fn longer_windows_weigh_more() {
        let found = Bootstrap::new(2).mean(&[10.0, 2.0], &[1.0, 3.0]);
        assert_eq!(found.value, 3.0);
        assert_eq!(found.interval(), Some((2.0 / 3.0, 10.0)));
    }

    #[test]
    fn windows_that_are_all_alike_leave_no_doubt() {
        let found = Bootstrap::new(3).mean(&[2.0; 3], &[4.0; 3]);
        assert_eq!(found, Estimate { value: 0.5, low: 0.5, high: 0.5 });
    }

    #[test]
    fn one_window_has_no_interval() {
        let found = Bootstrap::new(1).mean(&[2.0], &[4.0]);
        assert_eq!((found.value, found.interval()), (0.5, None));
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(json, r#"{"value":0.5,"low":null,"high":null}"#);
    }
}
