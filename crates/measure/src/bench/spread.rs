//! Several measurements of one thing.

use serde::Serialize;

/// The median of several measurements, and between which it lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub low: f64,
    /// The greatest.
    pub high: f64,
}

impl Spread {
    /// Of these measurements, of which there is at least one.
    pub(super) fn of(measurements: impl IntoIterator<Item = f64>) -> Self {
        let sorted = sorted(measurements);
        let [low, high] = [sorted.first(), sorted.last()].map(|end| end.copied().unwrap_or(0.0));
        let half = sorted.len() / 2;
        let middle = &sorted[half.saturating_sub(1 - sorted.len() % 2)..sorted.len().min(half + 1)];
        let median = middle.iter().sum::<f64>() / middle.len().max(1) as f64;
        Self { median, low, high }
    }
}

/// The measurement that the share `rank` of them does not exceed: the nearest rank.
pub(super) fn percentile(measurements: impl IntoIterator<Item = f64>, rank: f64) -> f64 {
    let sorted = sorted(measurements);
    let place = (rank * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

fn sorted(measurements: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = measurements.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let check = |values: &[f64], median, low, high| {
            assert_eq!(Spread::of(values.iter().copied()), Spread { median, low, high });
        };
        check(&[3.0], 3.0, 3.0, 3.0);
        check(&[4.0, 2.0], 3.0, 2.0, 4.0);
        check(&[9.0, 1.0, 2.0], 2.0, 1.0, 9.0);
        check(&[8.0, 1.0, 2.0, 4.0], 3.0, 1.0, 8.0);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred = || (1..=100).map(f64::from);
        assert_eq!(percentile(hundred(), 0.5), 50.0);
        assert_eq!(percentile(hundred(), 0.99), 99.0);
        assert_eq!(percentile([7.0], 0.99), 7.0);
        assert_eq!(percentile([5.0, 1.0, 3.0], 0.5), 3.0);
    }
}
