//! Magnitude and FLAP, by hand and by their definitions.

use crate::inputs::Tokens;
use llmopt_prune::{Fluctuation, Side, magnitude};

#[test]
fn a_unit_has_the_norm_of_all_its_weights() {
    // Two units: two rows each of a matrix, a row each of another, and two columns each of a third.
    let first = [1.0, 2.0, 2.0, 0.0, 3.0, 0.0, 0.0, 1.0];
    let second = [4.0, 0.0, 0.0, 2.0];
    let third = [1.0, 1.0, 0.0, 1.0, 1.0, 2.0, 1.0, 0.0];
    let sides =
        [Side::Rows(&first), Side::Rows(&second), Side::Columns { weights: &third, columns: 4 }];
    let squares = [9.0 + 16.0 + 2.0 + 5.0, 10.0 + 4.0 + 1.0 + 1.0f64];
    assert_eq!(magnitude(&sides, 2), squares.map(f64::sqrt));
    assert_eq!(magnitude(&[], 3), [0.0; 3]);
}

fn fluctuation(tokens: &Tokens) -> Fluctuation {
    let sum = |of: fn(f64) -> f64, column: usize| {
        tokens.now.chunks(tokens.columns).map(|row| of(f64::from(row[column]))).sum()
    };
    let sums: Vec<f64> = (0..tokens.columns).map(|column| sum(|x| x, column)).collect();
    let squares: Vec<f64> = (0..tokens.columns).map(|column| sum(|x| x * x, column)).collect();
    Fluctuation::new(tokens.tokens() as u64, &sums, &squares)
}

#[test]
fn scores_are_fluctuations_standardized() {
    let tokens = Tokens::new(1, 50, 4, 12);
    let column = |j: usize| tokens.now.chunks(12).map(move |row| f64::from(row[j]));
    let score = |j: usize| {
        let mean = column(j).sum::<f64>() / 50.0;
        let variance = column(j).map(|x| (x - mean).powi(2)).sum::<f64>() / 49.0;
        let norm: f64 = (0..4).map(|row| f64::from(tokens.weights[row * 12 + j]).powi(2)).sum();
        variance * norm
    };
    let scores: Vec<f64> = (0..12).map(score).collect();
    let mean = scores.iter().sum::<f64>() / 12.0;
    let deviation = (scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 11.0).sqrt();
    let found = fluctuation(&tokens).scores(&tokens.weights, 3);
    assert_eq!(found.len(), 4);
    for (unit, found) in found.iter().enumerate() {
        let of_unit = scores[unit * 3..][..3].iter().map(|score| (score - mean) / deviation);
        let expected = of_unit.sum::<f64>() / 3.0;
        assert!((found - expected).abs() < 1e-9, "{found} and not {expected}");
    }
}

#[test]
fn scores_that_are_all_the_same_are_zeros() {
    let fluctuation = Fluctuation::new(5, &[5.0; 4], &[5.0; 4]);
    assert_eq!(fluctuation.scores(&[1.0; 8], 1), [0.0; 4]);
}

#[test]
fn the_bias_is_what_the_means_of_the_removed_gave() {
    let fluctuation = Fluctuation::new(4, &[4.0, 8.0, 2.0], &[9.0, 20.0, 7.0]);
    let weights = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    assert_eq!(fluctuation.bias(&weights, &[1, 2]), [2.0 * 2.0 + 3.0 * 0.5, 5.0 * 2.0 + 6.0 * 0.5]);
    assert_eq!(fluctuation.bias(&weights, &[]), [0.0; 2]);
}
