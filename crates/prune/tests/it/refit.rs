//! Refitted weights against normal equations solved on their own.

use crate::inputs::{Tokens, prepared};
use crate::twin::Equations;

#[track_caller]
fn check(tokens: usize, columns: usize, kept: &[usize], damping: f64) {
    let sums = Tokens::new(7, tokens, 9, columns).sums();
    for moments in sums.each() {
        let refit = prepared(&moments, damping).refit(kept).expect("weights");
        let expected = Equations::new(&moments, damping).solution(kept);
        assert_eq!(refit.bias.is_some(), moments.constant.is_some());
        for (row, expected) in expected.iter().enumerate() {
            let near = |found: f32, expected: f64| {
                let error = (f64::from(found) - expected).abs();
                assert!(error < 2e-6, "{found} and not {expected}");
            };
            for (place, &column) in kept.iter().enumerate() {
                near(refit.weights[row * kept.len() + place], expected[column]);
            }
            if let Some(bias) = &refit.bias {
                near(bias[row], expected[columns]);
            }
        }
    }
}

#[test]
fn refits_solve_the_normal_equations() {
    check(90, 37, &[0, 1, 5, 6, 7, 20, 21, 33, 36], 0.01);
    check(600, 301, &(0..301).filter(|i| i % 3 != 1).collect::<Vec<_>>(), 0.01);
    check(20, 37, &[2, 3, 30], 0.1);
    check(50, 8, &[], 0.01);
    check(50, 8, &[0, 1, 2, 3, 4, 5, 6, 7], 0.01);
}

#[test]
fn weights_of_which_nothing_is_removed_stay_as_they_are() {
    let sums = Tokens::new(1, 30, 4, 11).sums();
    let all: Vec<usize> = (0..11).collect();
    let refit = prepared(&sums.alone(), 0.01).refit(&all).expect("weights");
    assert_eq!(refit.weights, sums.weights);
}
