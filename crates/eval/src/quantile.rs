//! Quantiles of tokens, of the windows as they are and of any resample of them.

/// The values of all tokens in order, with what it takes to find a place among those of a resample
/// without going through all of them.
pub(crate) struct Sorted {
    values: Vec<f64>,
    windows: Vec<u32>,
    /// Tokens per window.
    lengths: Vec<u32>,
    /// For every `STEP`-th value, how many before it are in each of the windows.
    before: Vec<Vec<u32>>,
}

impl Sorted {
    /// Of the values of each window.
    pub(crate) fn new(windows: &[Vec<f64>]) -> Self {
        let mut tokens: Vec<(f64, u32)> = windows
            .iter()
            .zip(0..)
            .flat_map(|(values, window)| values.iter().map(move |&value| (value, window)))
            .collect();
        tokens.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (values, of_window): (Vec<f64>, Vec<u32>) = tokens.into_iter().unzip();
        let step = step(values.len());
        let mut seen = vec![0; windows.len()];
        let mut before = Vec::new();
        for run in of_window.chunks(step) {
            before.push(seen.clone());
            for &window in run {
                seen[window as usize] += 1;
            }
        }
        Self { values, windows: of_window, lengths: seen, before }
    }

    /// The quantile `q` of the tokens, each counted as often as its window was drawn: between the
    /// two nearest in rank by linear interpolation, as PyTorch and NumPy do it by default.
    pub(crate) fn quantile(&self, times: &[u32], q: f64) -> f64 {
        let count = counted(times, &self.lengths);
        if count == 0 {
            return f64::NAN;
        }
        let rank = q * (count - 1) as f64;
        let lower = rank.floor();
        let [low, high] = self.at(times, lower as u64);
        if rank == lower { low } else { low + (high - low) * (rank - lower) }
    }

    /// The value of `rank`, and the one after it.
    fn at(&self, times: &[u32], rank: u64) -> [f64; 2] {
        let run = self.before.partition_point(|before| counted(times, before) <= rank) - 1;
        let mut before = counted(times, &self.before[run]);
        let mut low = None;
        for place in run * step(self.values.len())..self.values.len() {
            before += u64::from(times[self.windows[place] as usize]);
            if low.is_none() && before > rank {
                low = Some(self.values[place]);
            }
            if let Some(low) = low
                && before > rank + 1
            {
                return [low, self.values[place]];
            }
        }
        // The greatest of all has none after it.
        let last = low.unwrap_or(f64::NAN);
        [last, last]
    }
}

/// How many tokens there are when each window is taken so many times.
fn counted(times: &[u32], tokens: &[u32]) -> u64 {
    times.iter().zip(tokens).map(|(&times, &tokens)| u64::from(times) * u64::from(tokens)).sum()
}

/// Values from one place that is remembered to the next: counts of windows then take about as much
/// memory whatever the text's length.
fn step(values: usize) -> usize {
    values.div_ceil(RUNS).max(1)
}

const RUNS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::Random;

    /// Repeats each token as often as its window was drawn, sorts all, and interpolates.
    fn twin(windows: &[Vec<f64>], times: &[u32], q: f64) -> f64 {
        let mut all: Vec<f64> = windows
            .iter()
            .zip(times)
            .flat_map(|(values, &times)| values.repeat(times as usize))
            .collect();
        all.sort_by(f64::total_cmp);
        let rank = q * (all.len() - 1) as f64;
        let (low, high) = (all[rank.floor() as usize], all[rank.ceil() as usize]);
        low + (high - low) * rank.fract()
    }

    #[test]
    fn quantiles_of_resamples_are_those_of_repeated_tokens() {
        let mut random = Random::new(3);
        for (windows, length) in [(1, 1), (1, 5), (2, 1), (7, 11), (20, 113)] {
            let mut window = |_| -> Vec<f64> {
                let length = 1 + random.below(length);
                (0..length).map(|_| random.below(500) as f64).collect()
            };
            let values: Vec<Vec<f64>> = (0..windows).map(&mut window).collect();
            let sorted = Sorted::new(&values);
            for _ in 0..20 {
                let mut times = vec![0; windows];
                for _ in 0..windows {
                    times[random.below(windows)] += 1;
                }
                for q in [0.0, 0.1, 0.5, 0.99, 0.999, 1.0] {
                    let (found, expected) = (sorted.quantile(&times, q), twin(&values, &times, q));
                    assert!((found - expected).abs() < 1e-9, "{found} {expected}");
                }
            }
        }
    }

    #[test]
    fn quantiles_lie_between_ranks() {
        let sorted = Sorted::new(&[vec![3.0, 1.0], vec![2.0, 4.0]]);
        let quantile = |q| sorted.quantile(&[1, 1], q);
        assert_eq!([quantile(0.0), quantile(0.5), quantile(1.0)], [1.0, 2.5, 4.0]);
        assert_eq!(quantile(0.25), 1.75);
        assert_eq!(sorted.quantile(&[0, 2], 0.5), 3.0);
    }

    #[test]
    fn no_token_has_no_quantile() {
        assert!(Sorted::new(&[]).quantile(&[], 0.5).is_nan());
        assert!(Sorted::new(&[vec![]]).quantile(&[1], 0.5).is_nan());
    }
}
