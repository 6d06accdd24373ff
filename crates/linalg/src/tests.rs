//! Every kernel that this machine has, against a triple loop in f64.

use crate::kernels::KERNELS;
use crate::{Gemm, KernelChoice, Packed, Precision, Strided, Unavailable};
use half::bf16;
use std::ops::Range;

/// Sizes that divide nothing, one beyond what kernels like, and those of a single row.
const SIZES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (1, 7, 3),
    (3, 5, 7),
    (2, 33, 70),
    (5, 100, 31),
    (6, 16, 16),
    (7, 48, 257),
    (17, 33, 65),
    (32, 32, 32),
    (33, 31, 513),
    (64, 96, 1030),
    (130, 257, 129),
    (257, 130, 300),
    (300, 530, 40),
];

/// Uniform in [-1, 1), the same everywhere.
pub(crate) fn random(length: usize, seed: u32) -> Vec<f32> {
    let mut state = u64::from(seed) * 2 + 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..length).map(|_| next()).collect()
}

fn packed(gemm: Gemm, weights: &[f32], rows: usize, columns: usize) -> Packed {
    let mut packed = gemm.pack(rows, columns);
    for mut band in packed.bands_mut(48) {
        let rows = band.rows();
        band.fill(&weights[rows.start * columns..rows.end * columns]);
    }
    packed
}

pub(crate) fn rounded(gemm: Gemm, x: f32) -> f64 {
    match gemm.precision() {
        Precision::F32 => f64::from(x),
        Precision::Bf16 => bf16::from_f32(x).to_f64(),
    }
}

/// An element of the product in f64, and the sum of its terms' magnitudes.
fn element(gemm: Gemm, inputs: &[f32], weights: &[f32]) -> (f64, f64) {
    let terms = inputs.iter().zip(weights).map(|(&x, &w)| rounded(gemm, x) * rounded(gemm, w));
    terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
}

/// Each of k additions rounds a partial sum, which is at most the sum of the magnitudes.
fn error_bound(columns: usize, size: f64) -> f64 {
    (columns + 1) as f64 * size * 2f64.powi(-24) + 1e-30
}

#[expect(clippy::print_stdout, reason = "what was not tested is said")]
pub(crate) fn kernels() -> impl Iterator<Item = Gemm> {
    KERNELS.iter().filter_map(|entry| {
        let found = Gemm::new(entry.precision, entry.choice);
        if let Err(Unavailable { why, .. }) = &found {
            println!("skipped: {} ({why})", entry.name);
        }
        found.ok()
    })
}

#[track_caller]
fn check(gemm: Gemm, (m, rows, columns): (usize, usize, usize), range: Range<usize>) {
    let (inputs, weights) = (random(m * columns, 1), random(rows * columns, 2));
    let packed = packed(gemm, &weights, rows, columns);
    let mut out = vec![f32::NAN; m * range.len()];
    gemm.multiply(&inputs, &packed, range.clone(), &mut out);
    let each = out.chunks_exact(range.len()).zip(inputs.chunks_exact(columns)).enumerate();
    for (i, (out, inputs)) in each {
        for (out, row) in out.iter().zip(range.clone()) {
            let (expected, size) = element(gemm, inputs, &weights[row * columns..][..columns]);
            let error = (f64::from(*out) - expected).abs();
            let name = gemm.name();
            assert!(
                error <= error_bound(columns, size),
                "{name}, {m} x {rows} x {columns}, [{i}, {row}]: {out} is not {expected}"
            );
        }
    }
}

#[test]
fn kernels_agree_with_a_triple_loop() {
    for gemm in kernels() {
        for size in SIZES {
            check(gemm, size, 0..size.1);
        }
    }
}

#[test]
fn some_rows_of_the_weights_give_those_columns() {
    for gemm in kernels() {
        for range in [0..1, 3..4, 5..21, 16..32, 15..100, 96..129, 17..130, 64..130] {
            for m in [1, 9, 40] {
                check(gemm, (m, 130, 77), range.clone());
            }
        }
    }
}

#[test]
fn neither_other_rows_nor_the_range_change_a_bit() {
    for gemm in kernels().filter(|gemm| !gemm.name().ends_with("faer")) {
        let (m, rows, columns) = (270, 150, 1100);
        let (inputs, weights) = (random(m * columns, 3), random(rows * columns, 4));
        let packed = packed(gemm, &weights, rows, columns);
        let mut whole = vec![0.0; m * rows];
        gemm.multiply(&inputs, &packed, 0..rows, &mut whole);
        for count in [1, 2, 3, 5, 6, 8, 15, 33] {
            for range in [0..rows, 20..75] {
                let mut part = vec![0.0; count * range.len()];
                let first = 7;
                gemm.multiply(
                    &inputs[first * columns..][..count * columns],
                    &packed,
                    range.clone(),
                    &mut part,
                );
                for (i, part) in part.chunks_exact(range.len()).enumerate() {
                    let whole = &whole[(first + i) * rows..][range.clone()];
                    assert_eq!(part, whole, "{}, {count} rows, {range:?}", gemm.name());
                }
            }
        }
    }
}

/// Products of bf16 are exact in f32, so that it makes no difference whether they are added at once.
#[test]
fn vectors_of_bf16_have_the_bits_of_the_portable_kernel() {
    let (m, rows, columns) = (19, 50, 333);
    let (inputs, weights) = (random(m * columns, 9), random(rows * columns, 10));
    let product = |gemm: Gemm| {
        let mut out = vec![0.0; m * rows];
        gemm.multiply(&inputs, &packed(gemm, &weights, rows, columns), 0..rows, &mut out);
        out
    };
    let named = |name: &str| kernels().find(|gemm| gemm.name() == name);
    let Some(portable) = named("bf16 portable") else { unreachable!("every machine has it") };
    for name in ["bf16 avx2", "bf16 avx512"] {
        if let Some(gemm) = named(name) {
            assert_eq!(product(gemm), product(portable), "{name}");
        }
    }
}

#[test]
fn nan_and_infinity_come_through_and_stay_in_their_rows() {
    for gemm in kernels() {
        let (m, rows, columns) = (9, 35, 50);
        for (poison, at) in [(f32::NAN, 0), (f32::INFINITY, 49), (f32::NEG_INFINITY, 17)] {
            let (mut inputs, weights) = (random(m * columns, 5), random(rows * columns, 6));
            inputs[4 * columns + at] = poison;
            let packed = packed(gemm, &weights, rows, columns);
            let mut out = vec![0.0; m * rows];
            gemm.multiply(&inputs, &packed, 0..rows, &mut out);
            for (i, out) in out.chunks_exact(rows).enumerate() {
                assert_eq!(out.iter().all(|x| x.is_finite()), i != 4, "{}", gemm.name());
                let lost = out.iter().filter(|x| !x.is_finite()).count();
                assert_eq!(lost, if i == 4 { rows } else { 0 }, "{}", gemm.name());
            }
        }
    }
}

#[test]
fn a_product_over_nothing_is_zero() {
    for gemm in kernels() {
        let mut out = [1.0; 6];
        gemm.multiply(&[], &gemm.pack(3, 0), 0..3, &mut out);
        assert_eq!(out, [0.0; 6]);
        gemm.multiply(&[], &gemm.pack(3, 4), 0..3, &mut []);
        gemm.multiply(&[1.0; 8], &gemm.pack(3, 4), 2..2, &mut []);
        assert!(gemm.pack(0, 4).bands_mut(16).is_empty());
    }
}

#[test]
fn packed_bytes_are_those_held() {
    for gemm in kernels() {
        for (rows, columns) in [(1, 1), (17, 33), (300, 70)] {
            assert_eq!(gemm.pack(rows, columns).bytes(), gemm.packed_bytes(rows, columns));
        }
    }
}

#[test]
fn a_kernel_that_is_not_there_is_refused_with_those_that_are() {
    let refused = Gemm::new(Precision::F32, KernelChoice::Amx).map(|gemm| gemm.name());
    let Err(refused) = refused else { unreachable!("no f32 on AMX") };
    assert_eq!((refused.kernel, refused.precision), ("amx", Precision::F32));
    assert_eq!(refused.why, "it computes in another precision");
    assert!(refused.available.contains(&"portable") && refused.available.contains(&"faer"));
    for precision in [Precision::F32, Precision::Bf16] {
        assert!(Gemm::new(precision, KernelChoice::Auto).is_ok());
    }
}

#[test]
fn weights_of_two_bytes_give_the_product_of_four() {
    for gemm in kernels().filter(|gemm| gemm.precision() == Precision::F32) {
        for (m, rows, columns) in SIZES {
            let weights = random(rows * columns, 5);
            let weights: Vec<f32> = weights.iter().map(|x| bf16::from_f32(*x).to_f32()).collect();
            let inputs = random(m * columns, 6);
            let mut narrow = gemm.pack_bf16(rows, columns);
            narrow.bands_mut(16).iter_mut().for_each(|band| {
                let rows = band.rows();
                band.fill(&weights[rows.start * columns..rows.end * columns]);
            });
            assert_eq!(narrow.bytes(), gemm.packed_bf16_bytes(rows, columns));
            let product = |weights: &Packed| {
                let mut out = vec![f32::NAN; m * rows];
                gemm.multiply(&inputs, weights, 0..rows, &mut out);
                out
            };
            let expected = product(&packed(gemm, &weights, rows, columns));
            assert_eq!(product(&narrow), expected, "{}", gemm.name());
        }
    }
}

#[test]
fn rows_and_columns_that_come_one_by_one_make_the_same_matrix() {
    let (rows, columns, stride) = (37, 29, 41);
    let weights = random(rows * columns, 7);
    let inputs = random(3 * columns, 8);
    for gemm in kernels().filter(|gemm| gemm.precision() == Precision::F32) {
        let whole = packed(gemm, &weights, rows, columns);
        let (mut by_rows, mut by_columns) = (gemm.pack(rows, columns), gemm.pack(rows, columns));
        for (first, count) in [(0, 5), (5, 15), (20, 17)] {
            let mut apart = vec![9.0; count * stride];
            for (row, apart) in apart.chunks_mut(stride).enumerate() {
                let row = (first + row) * columns;
                apart[..columns].copy_from_slice(&weights[row..][..columns]);
            }
            by_rows.set_rows(first, Strided { values: &apart, rows: count, columns, stride });
        }
        for column in 0..columns {
            let values: Vec<f32> = (0..rows).map(|row| weights[row * columns + column]).collect();
            let one = Strided { values: &values, rows: 1, columns: rows, stride: rows };
            by_columns.set_columns(column, one);
        }
        let product = |weights: &Packed| {
            let mut out = vec![f32::NAN; 3 * rows];
            gemm.multiply(&inputs, weights, 0..rows, &mut out);
            out
        };
        assert_eq!(product(&by_rows), product(&whole), "{}", gemm.name());
        assert_eq!(product(&by_columns), product(&whole), "{}", gemm.name());
    }
}
