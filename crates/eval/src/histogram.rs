//! How divergences are spread over tokens, by order of magnitude.

use serde::Serialize;

/// Tokens by the decimal logarithm of their KL divergence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Histogram {
    /// The decimal logarithm at which the first bin begins.
    pub first_decade: i32,
    /// Bins per factor of ten, all as wide on a logarithmic axis.
    pub per_decade: u32,
    /// Tokens in each bin.
    pub counts: Vec<u64>,
    /// Tokens below the first bin: those that do not diverge at all among them.
    pub below: u64,
    /// Tokens above the last bin.
    pub above: u64,
}

impl Histogram {
    /// Of these divergences.
    pub fn new(klds: impl IntoIterator<Item = f64>) -> Self {
        let bins = (LAST_DECADE - FIRST_DECADE) as usize * PER_DECADE as usize;
        let mut histogram = Self {
            first_decade: FIRST_DECADE,
            per_decade: PER_DECADE,
            counts: vec![0; bins],
            below: 0,
            above: 0,
        };
        for kld in klds {
            let place = (libm::log10(kld) - f64::from(FIRST_DECADE)) * f64::from(PER_DECADE);
            if kld <= 0.0 || place < 0.0 {
                histogram.below += 1;
            } else {
                match histogram.counts.get_mut(place as usize) {
                    Some(count) => *count += 1,
                    None => histogram.above += 1,
                }
            }
        }
        histogram
    }

    /// All tokens.
    pub fn total(&self) -> u64 {
        self.below + self.above + self.counts.iter().sum::<u64>()
    }

    /// The divergence at which a bin begins.
    pub fn edge(&self, bin: usize) -> f64 {
        libm::exp10(f64::from(self.first_decade) + bin as f64 / f64::from(self.per_decade))
    }
}

/// Below the noise of any arithmetic in 16 bits.
const FIRST_DECADE: i32 = -8;
/// Beyond what differences of logits reach.
const LAST_DECADE: i32 = 2;
const PER_DECADE: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_counted_once() {
        let histogram = Histogram::new([0.0, 1e-9, 1.5e-8, 0.02, 0.021, 0.99, 99.0, 101.0]);
        assert_eq!((histogram.below, histogram.above, histogram.total()), (2, 1, 8));
        let filled: Vec<(usize, u64)> =
            histogram.counts.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        // log10 of 0.02 is -1.70: 6.30 decades above the first, bin 31.
        assert_eq!(filled, [(0, 1), (31, 2), (39, 1), (49, 1)]);
    }

    #[test]
    fn bins_begin_at_round_powers_of_ten() {
        let histogram = Histogram::new([]);
        let check = |bin, expected: f64| {
            assert!((histogram.edge(bin) / expected - 1.0).abs() < 1e-12);
        };
        check(0, 1e-8);
        check(1, 1.584_893_192_461_113_5e-8);
        check(40, 1.0);
        assert_eq!(histogram.counts.len(), 50);
    }
}
