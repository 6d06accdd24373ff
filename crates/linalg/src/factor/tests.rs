//! Factors against the definitions, and all of it on any number of threads.

use crate::tests::{kernels, random};
use crate::{Cross, Factor, Symmetric};
use rayon::ThreadPoolBuilder;

const ORDERS: [usize; 5] = [1, 5, 127, 129, 300];

/// A positive definite matrix that is nothing in particular.
fn positive(order: usize) -> Symmetric {
    let rows = random((order + 20) * order, 6);
    let mut matrix = Symmetric::zeros(order);
    for i in 0..order {
        for j in 0..=i {
            let terms = rows.chunks(order).map(|row| f64::from(row[i]) * f64::from(row[j]));
            matrix.set(i, j, terms.sum());
        }
    }
    matrix.add_to_diagonal(0.5);
    matrix
}

fn factor(matrix: &Symmetric) -> Factor {
    matrix.clone().cholesky().unwrap()
}

#[test]
fn the_factor_times_its_transpose_is_the_matrix() {
    for order in ORDERS {
        let matrix = positive(order);
        let factor = factor(&matrix);
        assert!(factor.diagonal().iter().all(|element| *element > 0.0));
        for (i, j) in (0..order).flat_map(|i| (0..=i).map(move |j| (i, j))) {
            let lower = factor.lower();
            let product: f64 = (0..=j).map(|k| lower.get(i, k) * lower.get(j, k)).sum();
            assert!((product - matrix.get(i, j)).abs() < 1e-12 * order as f64, "[{i}, {j}]");
            assert!(i == j || lower.get(j, i) == 0.0);
        }
    }
}

/// Gram matrices of activations have diagonals many orders of magnitude apart.
#[test]
fn columns_of_any_magnitude_are_factored() {
    let matrix = positive(150);
    let scale = |i: usize| 10f64.powi((i * 37 % 61) as i32 - 30);
    let mut scaled = Symmetric::zeros(150);
    for (i, j) in (0..150).flat_map(|i| (0..=i).map(move |j| (i, j))) {
        scaled.set(i, j, matrix.get(i, j) * scale(i) * scale(j));
    }
    let (plain, scaled) = (factor(&matrix), factor(&scaled));
    for (i, j) in (0..150).flat_map(|i| (0..=i).map(move |j| (i, j))) {
        let expected = plain.lower().get(i, j) * scale(i);
        let size = plain.lower().get(i, i) * scale(i);
        assert!((scaled.lower().get(i, j) - expected).abs() < 1e-11 * size);
    }
}

#[test]
fn panels_are_parts_of_the_factor() {
    let factor = factor(&positive(300));
    let lower = factor.lower();
    for (rows, columns) in [
        (0..300, 0..300),
        (100..300, 100..140),
        (3..5, 200..203),
        (129..131, 120..260),
        (4..4, 1..2),
    ] {
        let mut plain = vec![f32::NAN; rows.len() * columns.len()];
        let mut unit = plain.clone();
        factor.panel(rows.clone(), columns.clone(), &mut plain);
        factor.panel_over_diagonal(rows.clone(), columns.clone(), &mut unit);
        let each = rows.flat_map(|i| columns.clone().map(move |j| (i, j)));
        for ((i, j), (plain, unit)) in each.zip(plain.into_iter().zip(unit)) {
            assert_eq!(plain, lower.get(i, j) as f32);
            assert_eq!(unit, (lower.get(i, j) / lower.get(j, j)) as f32);
        }
    }
    factor.panel(3..9, 5..5, &mut []);
}

#[test]
fn solved_rows_times_the_matrix_are_the_rows() {
    for (order, count) in ORDERS.into_iter().zip([3, 70, 1, 64, 129]) {
        let (matrix, wanted) = (positive(order), random(count * order, 7));
        let mut rows = Vec::new();
        for wanted in wanted.chunks(order) {
            let term = |(i, x): (usize, &f32), j| f64::from(*x) * matrix.get(i, j);
            rows.extend(
                (0..order).map(|j| {
                    wanted.iter().enumerate().map(|each| term(each, j)).sum::<f64>() as f32
                }),
            );
        }
        factor(&matrix).solve_rows(&mut rows);
        let worst = rows.iter().zip(&wanted).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "order {order}: {worst}");
    }
}

#[test]
fn the_inverse_times_the_factor_is_the_identity() {
    for order in ORDERS {
        let factor = factor(&positive(order));
        let inverse = factor.inverse();
        for (i, j) in (0..order).flat_map(|i| (0..=i).map(move |j| (i, j))) {
            let product: f64 = (j..=i).map(|k| factor.lower().get(i, k) * inverse.get(k, j)).sum();
            assert!((product - f64::from(u8::from(i == j))).abs() < 1e-11, "[{i}, {j}]");
        }
    }
}

#[test]
fn the_inverse_in_f32_is_that_in_f64_but_for_its_digits() {
    for order in ORDERS {
        let factor = factor(&positive(order));
        let lower = factor.inverse();
        let expected = |i: usize, j: usize| -> f64 {
            (i.max(j)..order).map(|k| lower.get(k, i) * lower.get(k, j)).sum()
        };
        let expected: Vec<f64> =
            (0..order * order).map(|at| expected(at / order, at % order)).collect();
        let found = factor.inverse_in_f32();
        for (at, value) in expected.iter().enumerate() {
            let (i, j) = (at / order, at % order);
            let size = (expected[i * order + i] * expected[j * order + j]).sqrt();
            let error = (f64::from(found.get(i, j)) - value).abs();
            assert!(error < 1e-4 * size, "[{i}, {j}] of {order}: off by {error} beside {size}");
        }
    }
}

/// Unit vectors are solved for as well: rows of the inverse, each with its element of the diagonal.
#[test]
fn the_diagonal_of_the_inverse_is_that_of_solved_unit_vectors() {
    for order in ORDERS {
        let factor = factor(&positive(order));
        let mut unit = vec![0.0; order * order];
        unit.iter_mut().step_by(order + 1).for_each(|element| *element = 1.0);
        factor.solve_rows(&mut unit);
        for (found, expected) in
            factor.inverse_diagonal().iter().zip(unit.iter().step_by(order + 1))
        {
            assert!((found - f64::from(*expected)).abs() <= 1e-6 * found);
        }
    }
}

/// Every result, as bits.
fn results(order: usize) -> Vec<u64> {
    let (rows, others) = (random(530 * order, 8), random(530 * order, 9));
    let mut bits = Vec::new();
    for gemm in kernels() {
        let (mut matrix, mut cross) = (Symmetric::zeros(order), Cross::zeros(order));
        matrix.add_products(gemm, &rows);
        cross.add_products(gemm, &rows, &others);
        let places: Vec<usize> = (0..order).rev().collect();
        let (mut out, permuted) = (vec![0.0; rows.len()], matrix.permuted(&places));
        matrix.times(gemm, &rows, &mut out);
        let forms = matrix.quadratic(&rows);
        let factor = permuted.cholesky().unwrap();
        let mut solved = rows.clone();
        factor.solve_rows(&mut solved);
        let inverse = factor.inverse();
        let lowers = (0..order * order).flat_map(|at| {
            let (i, j) = (at / order, at % order);
            [matrix.get(i, j), factor.lower().get(i, j), inverse.get(i, j)]
        });
        bits.extend(lowers.chain(forms).chain(factor.inverse_diagonal()).map(f64::to_bits));
        let rounded = factor.inverse_in_f32();
        let rounded: Vec<f32> =
            (0..order * order).map(|at| rounded.get(at / order, at % order)).collect();
        let singles = [cross.values(), &out, &solved, &rounded[..]].concat();
        bits.extend(singles.iter().map(|value| u64::from(value.to_bits())));
    }
    bits
}

#[test]
fn no_number_of_threads_changes_a_bit() {
    let on = |threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let one = on(1).install(|| results(300));
    for threads in [2, 4] {
        assert!(on(threads).install(|| results(300)) == one, "{threads} threads");
    }
}
