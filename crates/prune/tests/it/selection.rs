//! Keep-sets against all there are, and against a surgeon that solves everything anew.

use crate::inputs::{PRECISION, Tokens, close, prepared};
use crate::twin::{Equations, features};
use llmopt_linalg::Symmetric;
use llmopt_prune::{Search, Side, magnitude};

const SINGLY: Search = Search { step: 0.0, rounds: 0 };

/// Every set of `count` of `of` units.
fn subsets(of: usize, count: usize) -> Vec<Vec<usize>> {
    let sets = (0u32..1 << of).filter(|bits| bits.count_ones() as usize == count);
    sets.map(|bits| (0..of).filter(|i| bits >> i & 1 == 1).collect()).collect()
}

#[test]
fn chosen_sets_are_close_to_the_best_of_all_and_never_worse_than_those_of_magnitude() {
    let (mut product, mut cases) = (1.0, 0.0);
    for seed in 0..8 {
        let (columns, keep) = (10 - seed as usize % 3, 4 + seed as usize % 2);
        let sums = Tokens::new(seed, 60, 7, columns).sums();
        for moments in sums.each() {
            let twin = Equations::new(&moments, 0.01);
            let best = twin.best();
            let loss = |kept: &[usize]| twin.loss_against(&best, kept);
            let least = subsets(columns, keep).iter().map(|set| loss(set)).fold(f64::MAX, f64::min);
            let search = Search { step: 0.0, rounds: 50 };
            let chosen = prepared(&moments, 0.01).select(1, keep, &search).expect("a set");
            close(chosen.loss, loss(&chosen.kept), PRECISION);
            assert!(chosen.loss <= 1.25 * least, "{seed}: {} against {least}", chosen.loss);
            product *= chosen.loss / least;
            cases += 1.0;

            let weights = moments.weights;
            let norms = magnitude(&[Side::Columns { weights, columns }], columns);
            let mut order: Vec<usize> = (0..columns).collect();
            order.sort_by(|&a, &b| norms[b].total_cmp(&norms[a]));
            order.truncate(keep);
            assert!(chosen.loss <= loss(&order));
        }
    }
    assert!(f64::powf(product, 1.0 / cases) < 1.03, "{product} over {cases}");
}

#[track_caller]
fn check_singly(columns: usize, width: usize, keep: usize) {
    let sums = Tokens::new(3, 90, 5, columns).sums();
    for moments in sums.each() {
        let chosen = prepared(&moments, 0.01).select(width, keep, &SINGLY).expect("a set");
        let (kept, losses) = Equations::new(&moments, 0.01).removed_singly(width, keep);
        assert_eq!(chosen.kept, kept);
        assert_eq!(chosen.curve.len(), losses.len());
        let units = columns / width;
        for (i, (step, loss)) in chosen.curve.iter().zip(losses).enumerate() {
            assert_eq!(step.kept, units - i);
            close(step.loss, loss, PRECISION);
        }
        assert_eq!(chosen.curve.last().map(|step| step.loss), Some(chosen.loss));
    }
}

#[test]
fn steps_of_one_are_those_of_a_surgeon_that_solves_everything_anew() {
    check_singly(37, 1, 11);
    check_singly(39, 3, 4);
    check_singly(20, 5, 0);
    check_singly(6, 1, 6);
}

#[test]
fn steps_of_many_lose_little_against_steps_of_one() {
    let sums = Tokens::new(5, 400, 20, 100).sums();
    for (moments, width) in sums.each().iter().zip([1, 1, 2]) {
        let mut regression = prepared(moments, 0.01);
        let twin = Equations::new(moments, 0.01);
        let keep = 50 / width;
        let singly = regression.select(width, keep, &SINGLY).expect("a set");
        let many = Search { step: 0.1, rounds: 0 };
        let many = regression.select(width, keep, &many).expect("a set");
        close(many.loss, twin.loss(&features(&many.kept, width)), PRECISION);
        assert!(many.loss <= 1.05 * singly.loss, "{} against {}", many.loss, singly.loss);
        assert!(many.curve.len() < singly.curve.len() / 2);

        let swapped = Search { step: 0.1, rounds: 30 };
        let swapped = regression.select(width, keep, &swapped).expect("a set");
        close(swapped.loss, twin.loss(&features(&swapped.kept, width)), PRECISION);
        assert!(swapped.loss <= many.loss);
        assert!((swapped.swaps == 0) == (swapped.kept == many.kept));
    }
}

/// The loss on the tokens themselves, and not on sums of them.
#[test]
fn the_loss_is_what_the_tokens_say() {
    let tokens = Tokens::new(11, 80, 6, 23);
    let sums = tokens.sums();
    let moments = sums.whole();
    let twin = Equations::new(&moments, 0.02);
    let lambda = twin.gram[0][0] - moments.gram.get(0, 0);
    let error = |solution: &Vec<Vec<f64>>| {
        let mut sum = 0.0;
        for (token, now) in tokens.now.chunks(23).enumerate() {
            for (row, v) in solution.iter().enumerate() {
                let output: f64 = now.iter().zip(v).map(|(x, v)| f64::from(*x) * v).sum();
                sum += (tokens.target(token, row) - output - v[23]).powi(2);
            }
        }
        for (row, v) in solution.iter().enumerate() {
            let weights = moments.weights[row * 23..].iter().zip(&v[..23]);
            sum += lambda * weights.map(|(w, v)| (f64::from(*w) - v).powi(2)).sum::<f64>();
        }
        sum
    };
    let chosen = prepared(&moments, 0.02).select(1, 9, &Search::default()).expect("a set");
    let expected = error(&twin.solution(&chosen.kept)) - error(&twin.best());
    close(chosen.loss, expected, 1e-5);
}

#[test]
fn energy_is_that_of_the_outputs() {
    let tokens = Tokens::new(2, 40, 6, 13);
    let sums = tokens.sums();
    let output = |now: &[f32], row: usize| -> f64 {
        let weights = &tokens.weights[row * 13..][..13];
        now.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum()
    };
    let all = tokens.now.chunks(13).flat_map(|now| (0..6).map(move |row| output(now, row)));
    let squares: f64 = all.map(|output| output * output).sum();
    close(prepared(&sums.alone(), 0.01).energy(), squares, 1e-10);
}

#[test]
fn an_order_of_zero_has_nothing_to_choose() {
    let gram = Symmetric::zeros(0);
    let moments = llmopt_prune::Moments {
        weights: &[],
        gram: &gram,
        cross: None,
        residual: None,
        constant: None,
    };
    let mut regression = prepared(&moments, 0.01);
    let chosen = regression.select(1, 0, &Search::default()).expect("nothing");
    assert!(chosen.kept.is_empty() && chosen.loss == 0.0);
    assert!(regression.refit(&[]).expect("nothing").weights.is_empty());
}
