//! Symmetric matrices against loops written from the definitions.

use crate::tests::{kernels, random, rounded};
use crate::{Factor, Gemm, KernelChoice, NotPositiveDefinite, Precision, Symmetric};

const ORDERS: [usize; 5] = [1, 5, 127, 129, 300];

/// A sum in f32 of at most 512 products rounds each at most once.
const RELATIVE: f64 = 513.0 / (1 << 24) as f64;

/// Element `[i, j]` of `rows^T rows`, and the sum of its terms' magnitudes.
fn moment(gemm: Gemm, rows: &[f32], order: usize, (i, j): (usize, usize)) -> (f64, f64) {
    let value = |row: &[f32], i: usize| rounded(gemm, row[i]);
    let terms = rows.chunks(order).map(|row| value(row, i) * value(row, j));
    terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
}

#[track_caller]
fn check_products(gemm: Gemm, rows: &[f32], order: usize) {
    let mut sums = Symmetric::zeros(order);
    sums.add_products(gemm, rows);
    for (i, j) in (0..order).flat_map(|i| (0..=i).map(move |j| (i, j))) {
        let (expected, size) = moment(gemm, rows, order, (i, j));
        let error = (sums.get(i, j) - expected).abs();
        let name = gemm.name();
        assert!(error <= RELATIVE * size, "{name} {order}: [{i}, {j}] is off by {error}");
    }
}

/// Rows of which each column has a magnitude of its own.
fn scaled(count: usize, magnitudes: &[f32]) -> Vec<f32> {
    let rows = random(count * magnitudes.len(), 3);
    rows.iter().zip(magnitudes.iter().cycle()).map(|(x, scale)| x * scale).collect()
}

/// A matrix from its elements on and below the diagonal.
fn symmetric(order: usize, of: impl Fn(usize, usize) -> f64) -> Symmetric {
    let mut matrix = Symmetric::zeros(order);
    for (i, j) in (0..order).flat_map(|i| (0..=i).map(move |j| (i, j))) {
        matrix.set(i, j, of(i, j));
    }
    matrix
}

fn mixed(order: usize) -> Symmetric {
    symmetric(order, |i, j| ((i * 31 + j * 17) % 23) as f64 / 7.0 - 1.5)
}

#[test]
fn products_of_rows_agree_with_a_triple_loop() {
    for gemm in kernels() {
        for (order, count) in [(1, 3), (5, 1), (127, 513), (129, 700), (300, 40), (1100, 7)] {
            check_products(gemm, &random(count * order, 1), order);
        }
    }
}

/// Numbers that do not repeat from tile to tile.
fn divisors(count: usize) -> Vec<f32> {
    (0..count).map(|i| 0.3 + (i * 37 % 101) as f32 / 7.0).collect()
}

#[test]
fn axes_are_divided_element_by_element() {
    for order in ORDERS {
        let (before, divisors) = (mixed(order), divisors(order));
        let mut after = before.clone();
        after.divide_axes(&divisors);
        for (i, j) in (0..order).flat_map(|i| (0..order).map(move |j| (i, j))) {
            let expected = before.get(i, j) / (f64::from(divisors[i]) * f64::from(divisors[j]));
            assert_eq!(after.get(i, j), expected, "{order}: [{i}, {j}]");
        }
    }
}

#[test]
fn columns_of_any_magnitude_stand_side_by_side() {
    for gemm in kernels() {
        check_products(gemm, &scaled(530, &[1e4, 1e-3, 1.0]), 3);
        check_products(gemm, &scaled(100, &[1e25, 1e-25, 1e4, 3e38, 1e-30, 0.0]), 6);
    }
}

/// One row far beyond the others: what it leaves of them is what f32 itself leaves of them.
#[test]
fn a_massive_activation_costs_no_more_than_its_rounding() {
    for gemm in kernels() {
        let mut rows = scaled(600, &[1e-3; 7]);
        rows[7 * 20 + 2] = 1e4;
        rows[7 * 599 + 2] = -1e25;
        check_products(gemm, &rows, 7);
    }
}

#[test]
fn products_add_to_what_is_there() {
    for gemm in kernels().take(1) {
        let (first, second) = (random(30 * 5, 1), random(20 * 5, 2));
        let mut apart = Symmetric::zeros(5);
        apart.add_products(gemm, &first);
        apart.add_products(gemm, &second);
        apart.add_products(gemm, &[]);
        let (mut sum, mut other) = (Symmetric::zeros(5), Symmetric::zeros(5));
        sum.add_products(gemm, &first);
        other.add_products(gemm, &second);
        sum.add(&other);
        sum.scale(2.0);
        assert!((0..25).all(|at| sum.get(at / 5, at % 5) == 2.0 * apart.get(at / 5, at % 5)));
    }
}

#[test]
fn a_row_is_its_elements() {
    let matrix = mixed(300);
    for row in [0, 1, 127, 128, 200, 299] {
        for columns in [0, 1, 128, 201, 300] {
            let mut elements = vec![f64::NAN; columns];
            matrix.copy_row(row, &mut elements);
            assert!((0..columns).all(|column| elements[column] == matrix.get(row, column)));
        }
    }
}

#[test]
fn an_element_is_that_of_both_triangles() {
    let mut matrix = mixed(300);
    assert_eq!(matrix.get(299, 3), matrix.get(3, 299));
    matrix.set(3, 299, 7.5);
    assert_eq!(matrix.get(299, 3), 7.5);
    let before = matrix.diagonal();
    matrix.add_to_diagonal(0.25);
    assert!(before.iter().zip(matrix.diagonal()).all(|(before, after)| before + 0.25 == after));
}

#[test]
fn a_permuted_matrix_has_the_elements_of_the_places_named() {
    for order in ORDERS {
        let matrix = mixed(order);
        let places: Vec<usize> = (0..order).map(|i| (i * 7 + 3) % order).collect();
        let permuted = matrix.permuted(&places);
        for (i, j) in (0..order).flat_map(|i| (0..order).map(move |j| (i, j))) {
            assert_eq!(permuted.get(i, j), matrix.get(places[i], places[j]));
        }
    }
    assert_eq!(mixed(300).permuted(&[299, 1]).get(0, 1), mixed(300).get(299, 1));
}

#[test]
fn the_whole_matrix_is_its_rows_one_after_the_other() {
    for order in ORDERS {
        let (matrix, whole) = (mixed(order), mixed(order).to_f32());
        assert_eq!(whole.len(), order * order);
        for (at, value) in whole.into_iter().enumerate() {
            assert_eq!(value, matrix.get(at / order, at % order) as f32);
        }
    }
}

#[test]
fn rows_times_the_matrix_agree_with_a_triple_loop() {
    for gemm in kernels() {
        for (order, count) in [(1, 2), (127, 3), (129, 65), (700, 5)] {
            let (matrix, rows) = (mixed(order), random(count * order, 4));
            let mut out = vec![f32::NAN; rows.len()];
            matrix.times(gemm, &rows, &mut out);
            for (row, out) in rows.chunks(order).zip(out.chunks(order)) {
                for (j, out) in out.iter().enumerate() {
                    let term = |(i, x): (usize, &f32)| {
                        rounded(gemm, *x) * rounded(gemm, matrix.get(i, j) as f32)
                    };
                    let terms: Vec<f64> = row.iter().enumerate().map(term).collect();
                    let error = (f64::from(*out) - terms.iter().sum::<f64>()).abs();
                    let size: f64 = terms.iter().map(|term| term.abs()).sum();
                    assert!(error <= (order + 1) as f64 / (1 << 24) as f64 * size);
                }
            }
        }
    }
}

#[test]
fn quadratic_forms_agree_with_a_double_loop() {
    for (order, count) in [(1, 2), (5, 70), (129, 3), (300, 65)] {
        let (matrix, rows) = (mixed(order), random(count * order, 5));
        let forms = matrix.quadratic(&rows);
        assert_eq!(forms.len(), count);
        for (row, form) in rows.chunks(order).zip(forms) {
            let each = (0..order).flat_map(|i| (0..order).map(move |j| (i, j)));
            let term =
                |(i, j): (usize, usize)| f64::from(row[i]) * matrix.get(i, j) * f64::from(row[j]);
            let expected: f64 = each.map(term).sum();
            assert!((form - expected).abs() <= 1e-12 * (order * order) as f64);
        }
    }
}

#[test]
fn quadratic_forms_in_f32_agree_with_those_in_f64_whatever_the_features_hold() {
    for (order, count) in [(1, 2), (5, 70), (129, 3), (515, 65)] {
        let size = |i: usize| [1.0, 1e-12, 1e12, 0.0][i % 4];
        let mixed = mixed(order);
        let matrix = symmetric(order, |i, j| mixed.get(i, j) * size(i) * size(j));
        let mut rows = random(count * order, 5);
        for row in rows.chunks_mut(order) {
            row.iter_mut().enumerate().for_each(|(i, r)| *r /= size(i).max(1e-12) as f32);
        }
        let expected = matrix.quadratic(&rows);
        for gemm in Gemm::available(Precision::F32) {
            let forms = matrix.quadratic_in_f32(gemm, &rows);
            assert_eq!(forms.len(), count);
            for (form, expected) in forms.iter().zip(&expected) {
                let error = (form - expected).abs();
                assert!(error <= 1e-6 * (order * order) as f64, "{order}: {form}, {expected}");
            }
        }
    }
}

#[test]
fn the_first_pivot_that_is_not_positive_is_named_with_its_column() {
    let identity = |i: usize, j: usize| f64::from(u8::from(i == j));
    let with = |at: usize, value: f64| {
        symmetric(300, move |i, j| if (i, j) == (at, at) { value } else { identity(i, j) })
    };
    let cases = [
        (Symmetric::zeros(300), 0, 0.0),
        (with(0, -1.0), 0, -1.0),
        (with(127, -0.5), 127, -0.5),
        (with(130, 0.0), 130, 0.0),
        (with(299, f64::INFINITY), 299, f64::INFINITY),
        (symmetric(200, |_, _| 1.0), 1, 0.0),
        (symmetric(200, |i, j| identity(i, j) + if i == 150 { 2.0 } else { 0.0 }), 150, -597.0),
    ];
    for (matrix, column, pivot) in cases {
        let found = matrix.cholesky().map(|factor| factor.order());
        assert_eq!(found, Err(NotPositiveDefinite { column, pivot }));
    }
    let found = with(140, f64::NAN).cholesky().map(|factor| factor.order());
    assert!(matches!(found, Err(NotPositiveDefinite { column: 140, .. })));
    let message = NotPositiveDefinite { column: 3, pivot: -0.5 }.to_string();
    assert_eq!(message, "the matrix is not positive definite: pivot -5e-1 in column 3");
}

#[test]
fn a_matrix_of_no_order_does_nothing() {
    let mut matrix = Symmetric::zeros(0);
    for gemm in kernels() {
        matrix.add_products(gemm, &[]);
        matrix.times(gemm, &[], &mut []);
    }
    assert!(matrix.quadratic(&[]).is_empty() && matrix.to_f32().is_empty());
    assert_eq!(matrix.permuted(&[]).cholesky().map(|factor| factor.diagonal()), Ok(vec![]));
}

#[test]
fn a_large_matrix_takes_little_more_than_a_full_one_in_f32() {
    assert_eq!(Symmetric::bytes(8192), 4 * 8192 * 8192 + 4 * 128 * 8192);
    assert_eq!(Symmetric::bytes(1), 8 * 128 * 128);
    assert_eq!(Symmetric::bytes(usize::MAX), u64::MAX);
}

#[test]
fn blocks_and_columns_are_elements() {
    for order in ORDERS {
        let mut matrix = mixed(order);
        let rows: Vec<usize> = (0..order).rev().step_by(2).collect();
        let columns: Vec<usize> = (0..order).skip(order / 3).step_by(3).collect();
        let block = matrix.block(&rows, &columns);
        assert_eq!(block.len(), rows.len() * columns.len());
        for (row, block) in rows.iter().zip(block.chunks(columns.len().max(1))) {
            for (column, value) in columns.iter().zip(block) {
                assert_eq!(*value, matrix.get(*row, *column));
            }
        }
        let every: Vec<usize> = (0..order).collect();
        let before = matrix.clone();
        let doubled: Vec<f64> = matrix.block(&every, &columns).iter().map(|x| 2.0 * x).collect();
        matrix.set_columns(&columns, &doubled);
        for (i, j) in (0..order).flat_map(|i| (0..=i).map(move |j| (i, j))) {
            let set = columns.contains(&i) || columns.contains(&j);
            assert_eq!(matrix.get(i, j), before.get(i, j) * if set { 2.0 } else { 1.0 });
        }
    }
}

#[test]
fn outer_products_add_up_as_by_the_definition() {
    for (order, width) in [(1, 1), (5, 3), (129, 1), (129, 7), (300, 140)] {
        let rows: Vec<f64> = random(order * width, 4).into_iter().map(f64::from).collect();
        let (mut matrix, before) = (mixed(order), mixed(order));
        matrix.add_outer(-0.5, &rows, width);
        for (i, j) in (0..order).flat_map(|i| (0..=i).map(move |j| (i, j))) {
            let (a, b) = (&rows[i * width..][..width], &rows[j * width..][..width]);
            let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            let error = matrix.get(i, j) - (before.get(i, j) - 0.5 * product);
            assert!(error.abs() < 1e-12, "{order} x {width}: [{i}, {j}] is off by {error}");
        }
    }
}

#[test]
fn damping_is_raised_until_there_is_a_factor() {
    // Of rank one.
    let matrix = symmetric(7, |i, j| ((i + 1) * (j + 1)) as f64);
    let order = [6, 0, 3];
    let (factor, damping) = matrix.damped_cholesky(&order, -1e-3).expect("a factor");
    assert_eq!(damping.share, 1e-6);
    assert!((damping.unit - 7.0 / 140.0).abs() < 1e-15);
    for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
        let product: f64 =
            (0..3).map(|k| factor.lower().get(i, k) * factor.lower().get(j, k)).sum();
        let expected = matrix.get(order[i], order[j]) * damping.unit
            + if i == j { damping.share } else { 0.0 };
        assert!((product - expected).abs() < 1e-12, "[{i}, {j}]: {product}, not {expected}");
    }
    let (_, damping) = Symmetric::zeros(4).damped_cholesky(&[0, 1, 2, 3], 0.01).expect("a factor");
    assert_eq!((damping.unit, damping.share), (1.0, 1.0));
    let refused = symmetric(2, |i, j| if i == j { 1.0 } else { 1e9 }).damped_cholesky(&[0, 1], 0.1);
    assert!(refused.is_err_and(|refused| refused.to_string().contains("damping")));
}

#[test]
fn in_f32_all_is_as_in_f64_but_for_its_digits() {
    for order in ORDERS {
        let every: Vec<usize> = (0..order).rev().collect();
        let mut matrix = mixed(order);
        let mut single: Symmetric<f32> = matrix.picked(&every);
        matrix = matrix.permuted(&every);
        let width = 3;
        let rows = random(order * width, 21);
        let wide: Vec<f64> = rows.iter().map(|&value| f64::from(value)).collect();
        let column = [order / 2];
        single.add_outer(-2.0, &rows, width);
        matrix.add_outer(-2.0, &wide, width);
        single.set_columns(&column, &rows[..order]);
        matrix.set_columns(&column, &wide[..order]);
        single.scale(-1.0);
        matrix.scale(-1.0);
        let near = |found: f32, expected: f64| {
            let error = (f64::from(found) - expected).abs();
            assert!(error <= 1e-5 * expected.abs().max(1.0), "{order}: {found}, not {expected}");
        };
        let (found, expected) = (single.block(&every, &every), matrix.block(&every, &every));
        found.iter().zip(expected).for_each(|(&found, expected)| near(found, expected));
        let (wide, again) = (single.permuted_in_f64(&every), single.permuted(&every));
        for (i, j) in (0..order).flat_map(|i| (0..order).map(move |j| (i, j))) {
            assert_eq!(wide.get(i, j), f64::from(again.get(i, j)));
            assert_eq!(again.get(i, j), single.get(every[i], every[j]));
        }
    }
}

/// The slow twin computes in f64 throughout. Columns differ in size by far more than f32 has digits.
#[test]
fn a_factor_by_products_in_f32_is_that_in_f64_but_for_its_digits() {
    for order in [1, 130, 640, 1100, 1300] {
        let magnitudes: Vec<f32> =
            (0..order).map(|i| 10f32.powi((i * 7 % 19) as i32 - 9)).collect();
        let mut matrix = Symmetric::zeros(order);
        let portable = Gemm::new(Precision::F32, KernelChoice::Portable).expect("plain Rust");
        matrix.add_products(portable, &scaled(order + 40, &magnitudes));
        let exact = matrix.clone().cholesky().expect("more rows than columns");
        for gemm in kernels() {
            let factor = matrix.clone().cholesky_by(gemm).expect("more rows than columns");
            let mut sizes = matrix.diagonal();
            sizes.iter_mut().for_each(|size| *size = size.sqrt());
            let mut most: f64 = 0.0;
            // The product is what the factor is for: its own elements depend on the condition.
            for i in (0..order).step_by(37).chain([order - 1]) {
                for j in (0..=i).step_by(31) {
                    let of = |factor: &Factor| -> f64 {
                        (0..=j).map(|k| factor.lower().get(i, k) * factor.lower().get(j, k)).sum()
                    };
                    most = most.max((of(&factor) - of(&exact)).abs() / (sizes[i] * sizes[j]));
                }
            }
            let bound = if gemm.is_portable() { 1e-12 } else { 2.0 * RELATIVE };
            assert!(most <= bound, "{} {order}: off by {most}", gemm.name());
        }
    }
}
