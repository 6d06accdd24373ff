//! Mixes: how many windows each of several sources gives, and in which order they stand.

/// What a source can give to a mix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Supply {
    /// Its part of the mix, against the others' weights: finite and above zero.
    pub weight: f64,
    /// The windows that it has.
    pub windows: usize,
}

/// How many of `samples` windows each source gives: its part by weight, rounded by largest remainder,
/// the first of equals first. A source that has fewer gives all, and the others fill up by weight.
pub fn shares(supplies: &[Supply], samples: usize) -> Vec<usize> {
    let mut all_given = vec![None; supplies.len()];
    loop {
        let left = samples.saturating_sub(all_given.iter().flatten().sum());
        let weights = supplies.iter().zip(&all_given);
        let weights = weights.map(|(supply, given)| given.map_or(supply.weight, |_| 0.0));
        let parts = apportioned(&weights.collect::<Vec<f64>>(), left);
        let is_short = |&source: &usize| parts[source] > supplies[source].windows;
        let short: Vec<usize> = (0..supplies.len()).filter(is_short).collect();
        if short.is_empty() {
            return all_given
                .iter()
                .zip(parts)
                .map(|(given, part)| given.unwrap_or(part))
                .collect();
        }
        short.into_iter().for_each(|source| all_given[source] = Some(supplies[source].windows));
    }
}

/// Whole parts of `samples` by the method of largest remainder (Hamilton). Nothing for weight zero.
fn apportioned(weights: &[f64], samples: usize) -> Vec<usize> {
    // Weights as parts of the greatest, so that their sum is finite.
    let greatest = weights.iter().copied().fold(0.0, f64::max);
    if greatest == 0.0 {
        return vec![0; weights.len()];
    }
    let sum: f64 = weights.iter().map(|weight| weight / greatest).sum();
    let exact = |weight: &f64| samples as f64 * (weight / greatest / sum);
    let exact: Vec<f64> = weights.iter().map(exact).collect();
    let mut parts: Vec<usize> = exact.iter().map(|exact| *exact as usize).collect();
    let remainder = |source: usize| exact[source] - exact[source].floor();
    let mut by_remainder: Vec<usize> =
        (0..weights.len()).filter(|&source| weights[source] > 0.0).collect();
    by_remainder.sort_by(|&a, &b| remainder(b).total_cmp(&remainder(a)));
    let left = samples.saturating_sub(parts.iter().copied().fold(0, usize::saturating_add));
    by_remainder.into_iter().take(left).for_each(|source| parts[source] += 1);
    parts
}

/// The source of each window of a mix: the windows of every source are spread evenly, window `k` of `n`
/// at `(2 k + 1) / 2 n` of the whole, and where several fall on one place, the first source is first.
pub fn interleaved(shares: &[usize]) -> Vec<usize> {
    let windows = |(source, &share): (usize, &usize)| {
        (0..share).map(move |number| (source, 2 * number as u128 + 1, share as u128))
    };
    let mut places: Vec<(usize, u128, u128)> =
        shares.iter().enumerate().flat_map(windows).collect();
    places.sort_by(|(_, a, of_a), (_, b, of_b)| (a * of_b).cmp(&(b * of_a)));
    places.into_iter().map(|(source, ..)| source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(supplies: &[(f64, usize)], samples: usize, expected: &[usize]) {
        let supply = |&(weight, windows): &(f64, usize)| Supply { weight, windows };
        let supplies: Vec<Supply> = supplies.iter().map(supply).collect();
        assert_eq!(shares(&supplies, samples), expected, "{samples} of {supplies:?}");
    }

    #[test]
    fn windows_are_shared_by_weight_with_the_largest_remainders_rounded_up() {
        check(&[(0.7, 99), (0.3, 99)], 10, &[7, 3]);
        check(&[(7.0, 99), (3.0, 99)], 10, &[7, 3]);
        // 5.25, 2.625, 1.125
        check(&[(14.0, 99), (7.0, 99), (3.0, 99)], 9, &[5, 3, 1]);
        check(&[(1.0, 99), (1.0, 99)], 3, &[2, 1]);
        check(&[(0.999, 99), (0.001, 99)], 4, &[4, 0]);
        check(&[(2.5, 99)], 13, &[13]);
        check(&[], 13, &[]);
    }

    #[test]
    fn what_a_source_lacks_the_others_give() {
        check(&[(0.7, 4), (0.3, 99)], 10, &[4, 6]);
        // 6, 3, 1: the first lacks four, of which the second, at 3 to 1, would give three but has one.
        check(&[(6.0, 2), (3.0, 4), (1.0, 99)], 10, &[2, 4, 4]);
        check(&[(1.0, 2), (1.0, 3)], 10, &[2, 3]);
        check(&[(1.0, 0), (1.0, 30)], 10, &[0, 10]);
    }

    #[test]
    fn no_weight_is_too_great_or_too_small() {
        check(&[(f64::MAX, 99), (f64::MAX, 99)], 8, &[4, 4]);
        check(&[(f64::MIN_POSITIVE, 99), (f64::MIN_POSITIVE, 99)], 8, &[4, 4]);
        check(&[(f64::MAX, 5), (5e-324, 99)], 8, &[5, 3]);
        check(&[(1.0, usize::MAX)], usize::MAX, &[usize::MAX]);
    }

    #[test]
    fn windows_of_every_source_are_spread_evenly() {
        assert_eq!(interleaved(&[4, 2]), [0, 1, 0, 0, 1, 0]);
        assert_eq!(interleaved(&[2, 2]), [0, 1, 0, 1]);
        assert_eq!(interleaved(&[1, 3]), [1, 0, 1, 1]);
        assert_eq!(interleaved(&[0, 3]), [1, 1, 1]);
        assert_eq!(interleaved(&[]), [0; 0]);
    }
}
