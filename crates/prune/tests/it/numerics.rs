//! What rounding and threads leave of a result: nothing that shows.

use crate::inputs::{Tokens, normal, prepared};
use crate::twin::{Equations, features};
use llmopt_prune::{Refit, Search, Selection};

/// Columns that lie within a few hundred-thousandths of a space of few dimensions.
fn ill_conditioned(columns: usize) -> Tokens {
    let mut tokens = Tokens::new(4, 500, 6, columns);
    let mut normal = normal(8);
    let factors: Vec<f64> = (0..12 * columns).map(|_| normal()).collect();
    for row in tokens.now.chunks_exact_mut(columns) {
        let common: Vec<f64> = (0..12).map(|_| normal()).collect();
        for (column, x) in row.iter_mut().enumerate() {
            let shared: f64 = (0..12).map(|i| common[i] * factors[i * columns + column]).sum();
            *x = (shared + 3e-5 * normal()) as f32;
        }
    }
    tokens.before.clone_from(&tokens.now);
    tokens
}

#[test]
fn many_downdates_of_an_ill_conditioned_inverse_leave_the_loss_right() {
    let sums = ill_conditioned(140).sums();
    for (damping, share) in [(1e-6, 1e-6), (1e-9, 1e-3)] {
        let moments = sums.alone();
        let twin = Equations::new(&moments, damping);
        let best = twin.best();
        for (width, keep) in [(1, 100), (1, 71), (1, 25), (5, 9)] {
            let search = Search { step: 0.02, rounds: 5 };
            let chosen = prepared(&moments, damping).select(width, keep, &search).expect("a set");
            let expected = twin.loss_against(&best, &features(&chosen.kept, width));
            let error = (chosen.loss - expected).abs() / expected;
            assert!(error < share, "{damping:e}, {keep}: {} and not {expected}", chosen.loss);
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let sums = Tokens::new(6, 300, 150, 231).sums();
    let run = |threads: usize, width: usize| -> (Selection, Refit) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let mut regression = prepared(&sums.whole(), 0.01);
            let search = Search { step: 0.03, rounds: 5 };
            let chosen = regression.select(width, 231 / width - 30, &search).expect("a set");
            let refit = regression.refit(&features(&chosen.kept, width)).expect("weights");
            (chosen, refit)
        })
    };
    for width in [1, 3] {
        let one = run(1, width);
        assert_eq!(one, run(2, width));
        assert_eq!(one, run(4, width));
    }
}
