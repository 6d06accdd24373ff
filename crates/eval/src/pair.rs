//! How far one model's distribution is from another's at one position, in one pass over slices.

use crate::exponential::sums_of_pair;
use crate::single::Softmax;

/// What a reference and an artifact made of one position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairLoss {
    /// Negative logarithm of the target's probability in the reference, in nats.
    pub nll_reference: f64,
    /// The same in the artifact.
    pub nll: f64,
    /// Kullback-Leibler divergence of the artifact from the reference, in nats.
    ///
    /// Right to about 1e-13. It cannot be negative; what is so by less than 1e-12 is rounding, and
    /// given as 0.
    pub kld: f64,
    /// Whether both have the same most probable token.
    pub agrees: bool,
    /// The target's probability in the reference.
    pub p_reference: f64,
    /// The same in the artifact.
    pub p: f64,
}

impl PairLoss {
    /// Whether the logits were numbers, the target among them, and none of them excluded by the
    /// artifact alone. No statistic takes any other loss.
    pub fn is_finite(&self) -> bool {
        self.nll_reference.is_finite() && self.nll.is_finite() && self.kld.is_finite()
    }
}

/// Online softmaxes of two models over one position's logits, and what is between them.
///
/// The divergence is the mean of the differences of logits under the reference, less the difference
/// of the logarithms of the sums: two numbers that agree in most digits. Single precision would
/// leave an error of some 1e-7, a hundredth of what 8 bits lose; so all is in f64.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    target: u32,
    reference: Softmax,
    artifact: Softmax,
    /// Of the reference's exponentials times the differences of logits.
    cross: f64,
}

impl Pair {
    /// Before the first logit, for a position whose next token is `target`.
    pub fn new(target: u32) -> Self {
        let (reference, artifact) = (Softmax::default(), Softmax::default());
        Self { target, reference, artifact, cross: 0.0 }
    }

    /// Takes both models' logits of the tokens from `first` on. Slices may come in any order, each
    /// token once.
    ///
    /// # Panics
    ///
    /// If there are more of one than of the other.
    pub fn update(&mut self, first: usize, reference: &[f32], artifact: &[f32]) {
        assert_eq!(reference.len(), artifact.len(), "a slice of both models' logits");
        self.cross *= self.reference.raise(first, self.target, reference);
        self.artifact.raise(first, self.target, artifact);
        let greatest = [self.reference.greatest, self.artifact.greatest];
        let [of_reference, of_artifact, cross] = sums_of_pair(reference, artifact, greatest);
        self.reference.sum += of_reference;
        self.artifact.sum += of_artifact;
        self.cross += cross;
    }

    /// The losses, once the whole vocabulary was seen.
    pub fn finish(self) -> PairLoss {
        let Self { reference, artifact, .. } = self;
        let (nll_reference, nll) = (reference.nll(), artifact.nll());
        let mean_difference = self.cross / reference.sum;
        let kld = mean_difference
            - (reference.greatest - artifact.greatest)
            - (reference.log_sum() - artifact.log_sum());
        PairLoss {
            nll_reference,
            nll,
            kld: if (-ROUNDING..0.0).contains(&kld) { 0.0 } else { kld },
            agrees: reference.top1 == artifact.top1,
            p_reference: libm::exp(-nll_reference),
            p: libm::exp(-nll),
        }
    }
}

/// What sums of f64 may be wrong by.
const ROUNDING: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exponential::testing::{cut, logits};

    /// Log-probabilities first, from shifted logits, then the divergence term by term, all in f64
    /// and each sum of terms that are not negative: `p (x - 1 - log x)` where `x` is `q / p`.
    fn twin(reference: &[f32], artifact: &[f32], target: usize) -> PairLoss {
        let log_probabilities = |logits: &[f32]| {
            let most = logits.iter().fold(f64::NEG_INFINITY, |most, &x| most.max(f64::from(x)));
            let sum: f64 = logits.iter().map(|&x| libm::exp(f64::from(x) - most)).sum();
            let log_sum = libm::log(sum);
            logits.iter().map(|&x| f64::from(x) - most - log_sum).collect::<Vec<f64>>()
        };
        let top1 = |logits: &[f32]| {
            (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
        };
        let (r, a) = (log_probabilities(reference), log_probabilities(artifact));
        let term = |(r, a): (&f64, &f64)| {
            let (p, q, d) = (libm::exp(*r), libm::exp(*a), a - r);
            match d {
                _ if p == 0.0 => q,
                -1.0..1.0 => p * (libm::expm1(d) - d),
                _ => q - p - p * d,
            }
        };
        PairLoss {
            nll_reference: -r[target],
            nll: -a[target],
            kld: r.iter().zip(&a).map(term).sum(),
            agrees: top1(reference) == top1(artifact),
            p_reference: libm::exp(r[target]),
            p: libm::exp(a[target]),
        }
    }

    fn loss(reference: &[f32], artifact: &[f32], target: usize, slice: usize) -> PairLoss {
        let mut pair = Pair::new(target as u32);
        for ((first, reference), (_, artifact)) in cut(reference, slice).zip(cut(artifact, slice)) {
            pair.update(first, reference, artifact);
        }
        pair.finish()
    }

    /// The divergence is right to `tolerance` of itself.
    fn check(reference: &[f32], artifact: &[f32], tolerance: f64) -> f64 {
        let target = reference.len() / 3;
        let expected = twin(reference, artifact, target);
        for slice in [1, 16, 37, 1000, reference.len()] {
            let found = loss(reference, artifact, target, slice);
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-11 * (1.0 + b.abs());
            assert!(close(found.nll_reference, expected.nll_reference));
            assert!(close(found.nll, expected.nll));
            assert!(close(found.p, expected.p) && close(found.p_reference, expected.p_reference));
            assert_eq!(found.agrees, expected.agrees);
            let error = (found.kld - expected.kld).abs();
            assert!(error <= tolerance * expected.kld + 1e-14, "{} {}", found.kld, expected.kld);
        }
        expected.kld
    }

    fn disturbed(logits: &[f32], seed: u64, by: f32) -> Vec<f32> {
        let noise = self::logits(seed, logits.len(), by);
        logits.iter().zip(noise).map(|(logit, noise)| logit + noise).collect()
    }

    #[test]
    fn divergences_of_all_sizes_are_right() {
        for (seed, size) in [(1, 2), (2, 33), (3, 1999), (4, 5003)] {
            let reference = logits(seed, size, 6.0);
            for by in [1.0, 0.1, 0.01] {
                check(&reference, &disturbed(&reference, seed + 10, by), 1e-6);
            }
        }
    }

    #[test]
    fn a_hundred_thousandth_of_a_nat_is_right_to_a_thousandth() {
        for (seed, spread) in [(1, 1.0), (2, 4.0), (3, 12.0)] {
            let reference = logits(seed, 3001, spread);
            let kld = check(&reference, &disturbed(&reference, seed + 10, 0.005), 1e-5);
            assert!((1e-6..1e-4).contains(&kld), "{kld}");
        }
        // One token has nearly all: errors of exponentials do not average out.
        let (mut reference, mut artifact) = (vec![0.0; 3001], vec![0.0; 3001]);
        (reference[7], artifact[7]) = (12.0, 11.994);
        let kld = check(&reference, &artifact, 1e-5);
        assert!((1e-7..1e-5).contains(&kld), "{kld}");
    }

    #[test]
    fn a_constant_added_to_all_logits_is_no_divergence() {
        let reference = logits(8, 777, 4.0);
        let raised: Vec<f32> = reference.iter().map(|x| x.round() + 4096.0).collect();
        let rounded: Vec<f32> = reference.iter().map(|x| x.round()).collect();
        for slice in [10, 777] {
            let kld = loss(&rounded, &raised, 3, slice).kld;
            assert!((0.0..1e-11).contains(&kld), "{kld}");
        }
    }

    #[test]
    fn identical_logits_do_not_diverge() {
        for (seed, spread) in [(1, 0.0), (2, 5.0), (3, 10_000.0)] {
            let same = logits(seed, 2003, spread);
            let found = loss(&same, &same, 5, 500);
            assert_eq!(found.kld, 0.0);
            assert_eq!((found.nll, found.p), (found.nll_reference, found.p_reference));
            assert!(found.agrees);
        }
    }

    #[test]
    fn huge_logits_diverge_by_as_much_as_they_differ() {
        let reference: Vec<f32> = logits(4, 999, 1.0).iter().map(|x| x * 1e4).collect();
        let artifact: Vec<f32> = reference.iter().map(|x| -x).collect();
        assert!(check(&reference, &artifact, 1e-9) > 1e3);
    }

    #[test]
    fn ties_go_to_the_first_in_both() {
        let agrees = |a: &[f32], b: &[f32]| loss(a, b, 0, 2).agrees;
        assert!(agrees(&[0.0, 2.0, 2.0], &[1.0, 3.0, 3.0]));
        assert!(!agrees(&[2.0, 2.0, 0.0], &[1.0, 3.0, 3.0]));
    }

    #[test]
    fn tokens_that_only_the_artifact_excludes_diverge_without_bound() {
        let masked = f32::NEG_INFINITY;
        let found = |a: &[f32], b: &[f32]| loss(a, b, 0, 3);
        let both = found(&[1.0, masked, 0.5], &[1.5, masked, 0.5]);
        assert!(both.is_finite() && both.kld > 0.0);
        assert!(found(&[1.0, masked, 0.5], &[1.5, 0.0, 0.5]).is_finite());
        assert_eq!(found(&[1.0, 0.0, 0.5], &[1.5, masked, 0.5]).kld, f64::INFINITY);
        assert!(!found(&[1.0, 0.0, 0.5], &[f32::NAN, 0.0, 0.5]).is_finite());
        assert!(!found(&[1.0, f32::INFINITY, 0.5], &[1.0, 0.0, 0.5]).is_finite());
    }
}
