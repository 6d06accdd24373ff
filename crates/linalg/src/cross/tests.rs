//! Cross products against a triple loop.

use crate::tests::{kernels, random, rounded};
use crate::{Cross, Gemm};

#[track_caller]
fn check(gemm: Gemm, left: &[f32], right: &[f32], (rows, columns): (usize, usize)) {
    let mut cross = Cross::rectangle(rows, columns);
    cross.add_products(gemm, left, right);
    for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
        let pairs = left.chunks(rows).zip(right.chunks(columns));
        let terms: Vec<f64> =
            pairs.map(|(x, y)| rounded(gemm, x[i]) * rounded(gemm, y[j])).collect();
        let size: f64 = terms.iter().map(|term| term.abs()).sum();
        let error = (f64::from(cross.get(i, j)) - terms.iter().sum::<f64>()).abs();
        // A sum in f32 of at most 512 products, and one of pieces.
        assert!(error <= 516.0 / (1 << 24) as f64 * size, "{} [{i}, {j}]: {error}", gemm.name());
    }
}

#[test]
fn cross_products_agree_with_a_triple_loop() {
    for gemm in kernels() {
        for (rows, columns, count) in [
            (1, 1, 3),
            (5, 5, 1),
            (127, 127, 513),
            (129, 7, 40),
            (530, 530, 21),
            (3, 530, 9),
            (70, 131, 1100),
        ] {
            let (left, right) = (random(count * rows, 1), random(count * columns, 2));
            check(gemm, &left, &right, (rows, columns));
        }
    }
}

#[test]
fn rows_and_columns_are_divided() {
    let (rows, columns) = (131, 7);
    let mut cross = Cross::rectangle(rows, columns);
    let gemm = kernels().next().expect("a kernel");
    cross.add_products(gemm, &random(20 * rows, 1), &random(20 * columns, 2));
    let before = cross.clone();
    let divisors = |count: usize| -> Vec<f32> { (0..count).map(|i| i as f32 + 1.5).collect() };
    cross.divide_rows(&divisors(rows));
    cross.divide_columns(&divisors(columns));
    for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
        let expected = before.get(i, j) / (i as f32 + 1.5) / (j as f32 + 1.5);
        assert_eq!(cross.get(i, j), expected, "[{i}, {j}]");
    }
}

#[test]
fn small_differences_stand_beside_large_values() {
    for gemm in kernels() {
        let scales = [1e-7, 1e4, 1e-3];
        let scaled = |seed, shift: usize| -> Vec<f32> {
            let scales = (0..).map(|at: usize| scales[(at + at / 3 * shift) % 3]);
            random(600 * 3, seed).iter().zip(scales).map(|(x, scale)| x * scale).collect()
        };
        check(gemm, &scaled(1, 0), &scaled(2, 0), (3, 3));
        check(gemm, &scaled(1, 1), &scaled(2, 2), (3, 3));
        let massive: Vec<f32> = scaled(3, 0).iter().map(|x| x * 1e25).collect();
        check(gemm, &massive, &scaled(4, 0), (3, 3));
    }
}

#[test]
fn sums_and_multiples_are_those_of_elements() {
    for gemm in kernels().take(1) {
        let (left, right) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
        let mut cross = Cross::zeros(2);
        cross.add_products(gemm, &left, &right);
        // 1 * 5 + 3 * 7, 1 * 6 + 3 * 8; 2 * 5 + 4 * 7, 2 * 6 + 4 * 8.
        assert_eq!(cross.values(), [26.0, 30.0, 38.0, 44.0]);
        cross.add(&cross.clone());
        cross.scale(0.25);
        assert_eq!(cross.values(), [13.0, 15.0, 19.0, 22.0]);
        cross.add_products(gemm, &[], &[]);
        assert_eq!((cross.order(), cross.get(1, 0), Cross::bytes(2, 3)), (2, 19.0, 24));
    }
    Cross::zeros(0).scale(2.0);
}
