//! How far hidden states have moved after a block.

use llmopt_tensor::simd::{Kernel, dispatch};
use serde::Serialize;

/// Squared distances of hidden states, added up over tokens.
///
/// Some tokens of some models, mostly the first of a window, have states a thousand times as long as
/// the others'. They alone decide [`BlockError::relative`]; in [`BlockError::per_token`] they count
/// as much as any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BlockError {
    squared_error: f64,
    squared_reference: f64,
    sum_of_ratios: f64,
    tokens: u64,
}

impl BlockError {
    /// Adds tokens, each with a state of so many `columns`, row after row.
    ///
    /// # Panics
    ///
    /// If there are more of one than of the other, or `columns` is zero.
    pub fn add(&mut self, columns: usize, reference: &[f32], artifact: &[f32]) {
        assert_eq!(reference.len(), artifact.len(), "states of the same tokens");
        for (reference, artifact) in reference.chunks(columns).zip(artifact.chunks(columns)) {
            let [error, square] = dispatch(Squares { reference, artifact });
            self.squared_error += error;
            self.squared_reference += square;
            self.sum_of_ratios += ratio(error, square);
            self.tokens += 1;
        }
    }

    /// Adds what was added to another. Parts of constant size, merged in order, give the same sums
    /// whoever added them up.
    pub fn merge(&mut self, other: &Self) {
        self.squared_error += other.squared_error;
        self.squared_reference += other.squared_reference;
        self.sum_of_ratios += other.sum_of_ratios;
        self.tokens += other.tokens;
    }

    /// Squared length of the error over that of the reference, of all tokens together.
    pub fn relative(&self) -> f64 {
        ratio(self.squared_error, self.squared_reference)
    }

    /// Squared length of a token's error over that of its reference: the mean over tokens.
    pub fn per_token(&self) -> f64 {
        if self.tokens == 0 { 0.0 } else { self.sum_of_ratios / self.tokens as f64 }
    }

    /// Squared length of a token's error: the mean over tokens. What a block adds to it, it adds to
    /// the error that the last block leaves; ratios hide that where states grow.
    pub fn squared_distance(&self) -> f64 {
        if self.tokens == 0 { 0.0 } else { self.squared_error / self.tokens as f64 }
    }

    /// Whether all states were numbers.
    pub fn is_finite(&self) -> bool {
        self.squared_error.is_finite() && self.squared_reference.is_finite()
    }
}

/// No error of nothing is no error.
fn ratio(error: f64, reference: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / reference }
}

struct Squares<'a> {
    reference: &'a [f32],
    artifact: &'a [f32],
}

impl Kernel for Squares<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run(self) -> [f64; 2] {
        let (references, rest) = self.reference.as_chunks::<LANES>();
        let (artifacts, rest_of_artifact) = self.artifact.as_chunks::<LANES>();
        let mut last = [[0.0; LANES]; 2];
        last[0][..rest.len()].copy_from_slice(rest);
        last[1][..rest_of_artifact.len()].copy_from_slice(rest_of_artifact);
        let blocks = references.iter().zip(artifacts).chain([(&last[0], &last[1])]);
        let (mut errors, mut squares) = ([0.0; LANES], [0.0; LANES]);
        for (reference, artifact) in blocks {
            for lane in 0..LANES {
                let (r, a) = (f64::from(reference[lane]), f64::from(artifact[lane]));
                errors[lane] += (a - r) * (a - r);
                squares[lane] += r * r;
            }
        }
        [total(&errors), total(&squares)]
    }
}

/// Not inlined: what is inlined may have its lanes shuffled, and the loop above with it.
#[inline(never)]
fn total(lanes: &[f64; LANES]) -> f64 {
    lanes.iter().sum()
}

const LANES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(columns: usize, reference: &[f32], artifact: &[f32], relative: f64, per_token: f64) {
        let mut whole = BlockError::default();
        whole.add(columns, reference, artifact);
        let mut parts = BlockError::default();
        for (reference, artifact) in reference.chunks(columns).zip(artifact.chunks(columns)) {
            let mut part = BlockError::default();
            part.add(columns, reference, artifact);
            parts.merge(&part);
        }
        assert_eq!(whole, parts);
        assert!((whole.relative() - relative).abs() < 1e-12, "{whole:?}");
        assert!((whole.per_token() - per_token).abs() < 1e-12, "{whole:?}");
    }

    #[test]
    fn errors_are_relative_to_all_states_or_to_each() {
        check(2, &[3.0, 4.0], &[3.0, 4.5], 0.01, 0.01);
        // Squared errors 0.25 and 1, squared lengths 25 and 2.
        check(2, &[3.0, 4.0, 1.0, 1.0], &[3.0, 4.5, 1.0, 0.0], 1.25 / 27.0, (0.01 + 0.5) / 2.0);
        check(3, &[0.0; 6], &[0.0; 6], 0.0, 0.0);
        check(1, &[], &[], 0.0, 0.0);
    }

    #[test]
    fn distances_are_means_over_tokens() {
        let mut error = BlockError::default();
        assert_eq!(error.squared_distance(), 0.0);
        error.add(2, &[3.0, 4.0, 1.0, 1.0], &[3.0, 4.5, 1.0, 0.0]);
        assert_eq!(error.squared_distance(), 0.625);
    }

    #[test]
    fn every_column_of_every_width_counts() {
        for columns in 1..40 {
            let reference = vec![2.0; columns * 3];
            let artifact = vec![2.5; columns * 3];
            check(columns, &reference, &artifact, 0.0625, 0.0625);
        }
    }

    #[test]
    fn what_is_no_number_is_not_finite() {
        for (reference, artifact) in [(f32::NAN, 0.0), (0.0, f32::INFINITY), (f32::INFINITY, 1.0)] {
            let mut error = BlockError::default();
            error.add(1, &[1.0, reference], &[1.0, artifact]);
            assert!(!error.is_finite());
        }
    }
}
