//! Inputs that tempt into dividing by zero.

use crate::inputs::{PRECISION, Tokens, close, gemm, prepared};
use crate::twin::Equations;
use llmopt_linalg::Symmetric;
use llmopt_prune::{Moments, Regression, RegressionError, Search, Selection};

const SEARCHES: [Search; 2] = [Search { step: 0.0, rounds: 9 }, Search { step: 0.2, rounds: 9 }];

fn chosen(moments: &Moments<'_>, keep: usize, search: &Search) -> Selection {
    chosen_with(0.01, moments, keep, search)
}

fn chosen_with(damping: f64, moments: &Moments<'_>, keep: usize, search: &Search) -> Selection {
    let mut regression = prepared(moments, damping);
    let chosen = regression.select(1, keep, search).expect("a set");
    assert_eq!(chosen.kept.len(), keep);
    assert!(chosen.loss.is_finite() && chosen.curve.iter().all(|step| step.loss.is_finite()));
    let refit = regression.refit(&chosen.kept).expect("weights");
    assert!(refit.weights.iter().chain(refit.bias.iter().flatten()).all(|value| value.is_finite()));
    chosen
}

#[test]
fn dead_features_go_first_and_cost_nothing() {
    let mut tokens = Tokens::new(9, 60, 5, 21);
    for dead in [0, 7, 20] {
        tokens.set_column(dead, |_| 0.0);
    }
    let sums = tokens.sums();
    for moments in sums.each() {
        assert_eq!(prepared(&moments, 0.01).dead_columns(), 3);
        for search in &SEARCHES {
            let chosen = chosen(&moments, 18, search);
            assert!([0, 7, 20].iter().all(|dead| !chosen.kept.contains(dead)), "{chosen:?}");
            assert_eq!(chosen.loss, 0.0);
            // Kept where there is nothing else to keep.
            assert_eq!(self::chosen(&moments, 20, search).loss, 0.0);
        }
    }
}

#[test]
fn inputs_that_are_all_zero_lose_nothing() {
    let gram = Symmetric::zeros(5);
    let weights = [1.0; 15];
    let moments =
        Moments { weights: &weights, gram: &gram, cross: None, residual: None, constant: None };
    for search in &SEARCHES {
        assert_eq!(chosen(&moments, 2, search).loss, 0.0);
    }
}

#[test]
fn of_two_that_say_the_same_one_is_kept() {
    let mut tokens = Tokens::new(10, 60, 5, 12);
    tokens.set_column(5, |row| row[4]);
    tokens.set_column(11, |row| -2.0 * row[2]);
    // Without them much would be lost.
    for row in tokens.weights.chunks_exact_mut(12) {
        row[4] *= 8.0;
        row[5] = row[4];
        row[2] *= 8.0;
    }
    let sums = tokens.sums();
    for moments in sums.each() {
        for search in &SEARCHES {
            let chosen = chosen_with(1e-4, &moments, 6, search);
            let pairs = [(4, 5), (2, 11)];
            for (a, b) in pairs {
                assert!(chosen.kept.contains(&a) != chosen.kept.contains(&b), "{:?}", chosen.kept);
            }
        }
        // Almost free, even without damping to speak of.
        let mut regression = prepared(&moments, 0.0);
        let chosen = regression.select(1, 10, &Search::default()).expect("a set");
        assert!(chosen.loss < 1e-3 * regression.energy());
    }
}

#[test]
fn a_constant_feature_is_worth_nothing_beside_a_bias() {
    let mut tokens = Tokens::new(12, 60, 5, 15);
    tokens.set_column(6, |_| 3.0);
    let sums = tokens.sums();
    let moments = sums.whole();
    for search in &SEARCHES {
        let chosen = chosen(&moments, 14, search);
        assert!(!chosen.kept.contains(&6));
        assert_eq!(chosen.loss, 0.0);
    }
    let refit = prepared(&moments, 0.01).refit(&[0, 3, 6, 9]).expect("weights");
    let without = prepared(&moments, 0.01).refit(&[0, 3, 9]).expect("weights");
    let (bias, less) = (refit.bias.expect("a bias"), without.bias.expect("a bias"));
    for (row, (bias, less)) in bias.iter().zip(less).enumerate() {
        let moved = 3.0 * refit.weights[row * 4 + 2];
        assert!((bias + moved - less).abs() < 1e-5, "{bias} and {moved}, or {less}");
    }
}

#[test]
fn fewer_tokens_than_features_are_enough_for_the_damping() {
    let sums = Tokens::new(13, 20, 5, 61).sums();
    for moments in sums.each() {
        let twin = Equations::new(&moments, 0.01);
        for search in &SEARCHES {
            let chosen = chosen(&moments, 25, search);
            let expected = twin.loss(&chosen.kept);
            close(chosen.loss, expected, PRECISION);
        }
    }
}

#[test]
fn damping_is_raised_until_there_is_a_factor_and_reported() {
    let sums = Tokens::new(13, 20, 5, 61).sums();
    let every: Vec<usize> = (0..61).collect();
    for keep in [7, 60] {
        let mut enough = prepared(&sums.alone(), 0.01);
        enough.select(1, keep, &SEARCHES[0]).expect("a set");
        enough.refit(&every).expect("weights");
        assert_eq!(enough.damping(), 0.01);
        let mut raised = prepared(&sums.alone(), 0.0);
        raised.select(1, keep, &SEARCHES[0]).expect("a set");
        assert!(raised.damping() >= 1e-6, "{}", raised.damping());
    }
    let mut raised = prepared(&sums.alone(), 0.0);
    raised.refit(&every).expect("weights");
    assert!(raised.damping() >= 1e-6, "{}", raised.damping());
}

#[test]
fn magnitudes_of_inputs_do_not_matter() {
    let tokens = Tokens::new(14, 60, 5, 17);
    let search = Search { step: 0.1, rounds: 5 };
    let plain = chosen(&tokens.sums().alone(), 8, &search);
    for factor in [1e-15f32, 1e15] {
        let mut tokens = Tokens::new(14, 60, 5, 17);
        tokens.now.iter_mut().for_each(|x| *x *= factor);
        let scaled = chosen(&tokens.sums().alone(), 8, &search);
        assert_eq!(scaled.kept, plain.kept);
    }
}

#[test]
fn what_is_not_finite_or_no_sum_of_squares_is_refused() {
    let mut sums = Tokens::new(15, 30, 3, 6).sums();
    sums.weights[4] = f32::NAN;
    let refused = Regression::prepare(gemm(), &sums.alone(), 0.01).err();
    assert_eq!(refused, Some(RegressionError::NotFinite));
    sums.weights[4] = 1.0;
    sums.residual[7] = f32::INFINITY;
    let refused = Regression::prepare(gemm(), &sums.moved(), 0.01).err();
    assert_eq!(refused, Some(RegressionError::NotFinite));
    sums.gram.set(2, 2, f64::NAN);
    let refused = Regression::prepare(gemm(), &sums.alone(), 0.01).err();
    assert_eq!(refused, Some(RegressionError::NotFinite));
    let mut gram = Symmetric::zeros(6);
    gram.add_to_diagonal(1.0);
    gram.set(1, 0, 1e9);
    let moments = Moments { gram: &gram, ..sums.alone() };
    let mut regression = prepared(&moments, 0.01);
    let refused = regression.select(1, 2, &SEARCHES[0]).err();
    assert!(matches!(refused, Some(RegressionError::NotPositiveDefinite { .. })));
    let refused = regression.refit(&[0, 1, 2, 3, 4, 5]).err();
    assert!(matches!(refused, Some(RegressionError::NotPositiveDefinite { .. })));
}
