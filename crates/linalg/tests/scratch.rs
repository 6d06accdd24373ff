//! What calls allocate, against what the functions beside them promise.

#![expect(unsafe_code, reason = "an allocator that counts")]

use llmopt_linalg::{Cross, Factor, Gemm, Precision, Symmetric, wide};

mod counting;

#[test]
fn a_product_allocates_what_it_promises_at_most() {
    for gemm in [Precision::F32, Precision::Bf16].into_iter().flat_map(Gemm::available) {
        for (m, rows, columns) in [(1, 40, 70), (256, 64, 300), (700, 130, 520), (40, 900, 2100)] {
            let (inputs, weights) = (vec![1.0; m * columns], gemm.pack(rows, columns));
            let mut out = vec![0.0; m * rows];
            let (most, ()) = counting::most(|| gemm.multiply(&inputs, &weights, 0..rows, &mut out));
            let promised = gemm.scratch_bytes(m, columns);
            assert!(most <= promised, "{}, {m} x {rows} x {columns}: {most}", gemm.name());
        }
    }
}

#[track_caller]
fn check(what: &str, promised: usize, work: impl FnOnce() + Send) {
    let (most, ()) = counting::most(work);
    assert!(most <= promised, "{what}: {most}, not {promised}");
}

#[test]
fn sums_of_products_allocate_what_they_promise_at_most() {
    for gemm in [Precision::F32, Precision::Bf16].into_iter().flat_map(Gemm::available) {
        for (order, count) in [(1, 9), (70, 300), (300, 1100), (1300, 20)] {
            let what = format!("{}, {count} rows of {order}", gemm.name());
            let (rows, mut out) = (vec![1.0; count * order], vec![0.0; count * order]);
            let (mut sums, mut cross) = (Symmetric::zeros(order), Cross::zeros(order));
            let promised = Symmetric::add_products_bytes(gemm, order, 1);
            check(&what, promised, || sums.add_products(gemm, &rows));
            let promised = Symmetric::times_bytes(gemm, order, 1);
            check(&what, promised, || sums.times(gemm, &rows, &mut out));
            let promised = Symmetric::quadratic_in_f32_bytes(gemm, order, 1) + 8 * count;
            check(&what, promised, || drop(sums.quadratic_in_f32(gemm, &rows)));
            let promised = Cross::add_products_bytes(gemm, order, order, 1);
            check(&what, promised, || cross.add_products(gemm, &rows, &rows));
        }
    }
}

#[test]
fn factors_allocate_what_they_promise_at_most() {
    for (order, count) in [(1, 9), (70, 100), (300, 70), (900, 5)] {
        let what = format!("{count} rows of {order}");
        let mut matrix = Symmetric::zeros(order);
        matrix.add_to_diagonal(2.0);
        let mut rows = vec![1.0; count * order];
        let promised = Symmetric::quadratic_bytes(order, 1) + 8 * count;
        check(&what, promised, || drop(matrix.quadratic(&rows)));
        let mut factor = None;
        let promised = Symmetric::cholesky_bytes(order, 1);
        check(&what, promised, || factor = matrix.cholesky().ok());
        let Some(factor) = factor else { unreachable!("a positive definite matrix") };
        let promised = Factor::solve_rows_bytes(order, 1);
        check(&what, promised, || factor.solve_rows(&mut rows));
        let promised = Factor::inverse_bytes(order, 1);
        check(&what, promised + Factor::bytes(order) as usize, || drop(factor.inverse()));
        check(&what, promised + 8 * order, || drop(factor.inverse_diagonal()));
        drop(factor);
        let (bytes, half) = (Symmetric::bytes(order), Symmetric::bytes_in_f32(order));
        let factored = bytes + half.max(Symmetric::cholesky_bytes(order, 1) as u64);
        let promised = factored.max(Factor::inverse_in_f32_bytes(order, 1)) as usize;
        check(&what, promised, || {
            let mut matrix = Symmetric::zeros(order);
            matrix.add_to_diagonal(2.0);
            drop(matrix.cholesky().expect("a factor").inverse_in_f32());
        });
    }
}

#[test]
fn factors_by_products_in_f32_allocate_what_they_promise_at_most() {
    for gemm in [Precision::F32, Precision::Bf16].into_iter().flat_map(Gemm::available) {
        for order in [1, 300, 512, 513, 1300, 2100] {
            let mut matrix = Symmetric::zeros(order);
            matrix.add_to_diagonal(2.0);
            let promised = Symmetric::cholesky_by_bytes(gemm, order, 1);
            let factored = || drop(matrix.cholesky_by(gemm));
            check(&format!("{} of {order}", gemm.name()), promised, factored);
        }
    }
}

#[test]
fn updates_allocate_what_they_promise_at_most() {
    for (order, width) in [(1, 1), (300, 1), (900, 130), (1500, 40)] {
        let what = format!("{width} of {order}");
        let (rows, mut matrix) = (vec![0.5; order * width], Symmetric::zeros(order));
        let promised = Symmetric::add_outer_bytes(order, 1);
        check(&what, promised, || matrix.add_outer(1.0, &rows, width));
        let mut out = vec![0.0; order * order];
        let promised = wide::add_product_transposed_bytes(1);
        check(&what, promised, || wide::add_product_transposed(&mut out, 1.0, &rows, &rows, width));
    }
}
