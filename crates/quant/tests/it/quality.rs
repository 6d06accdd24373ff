//! How close the search comes to the least error there is, and that it never does worse than
//! rounding to nearest.

use crate::weights::Source;
use crate::{int, scheme, twin};
use llmopt_quant::{Nearest, Quantizer, Search};
use llmopt_scheme::{Granularity, Numeric, QuantizedMatrix, Scheme};
use llmopt_tensor::Dtype;
use ndarray::ArrayView2;

const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::BF16, Dtype::F16];

fn quantized(
    quantizer: &dyn Quantizer,
    weights: &[f32],
    columns: usize,
    scheme: Scheme,
    dtype: Dtype,
) -> QuantizedMatrix {
    let shape = (weights.len() / columns, columns);
    let weights = ArrayView2::from_shape(shape, weights).expect("whole rows");
    quantizer.quantize(weights, &scheme, dtype).expect("finite weights and a scheme that fits")
}

/// Squared errors of the tiles, which are whole rows or groups, from the grid's definition.
fn errors(matrix: &QuantizedMatrix, weights: &[f32]) -> Vec<f64> {
    let (columns, mut errors) = (matrix.columns(), vec![0.0; matrix.grid.tiles.count()]);
    for (i, (&weight, &code)) in weights.iter().zip(&matrix.codes).enumerate() {
        let (row, column) = (i / columns, i % columns);
        let error = f64::from(weight - matrix.grid.value(row, column, code));
        errors[matrix.grid.tiles.index(row, column)] += error * error;
    }
    errors
}

/// `weights` in tiles of `length`, `count` of them: the mean error is at most `bound` of the twin's.
fn check(numeric: Numeric, length: usize, count: usize, symmetric: bool, bound: f64) {
    let scheme = scheme(numeric, Granularity::Group(length), symmetric);
    for source in Source::ALL {
        let weights = source.weights(length * count);
        for dtype in [Dtype::F32, Dtype::BF16] {
            let matrix = quantized(&Search, &weights, length, scheme, dtype);
            let error: f64 = errors(&matrix, &weights).iter().sum();
            let least: f64 =
                weights.chunks(length).map(|tile| twin::least_error(tile, scheme, dtype)).sum();
            let ratio = error / least;
            assert!(ratio < bound, "{scheme} {source:?} {dtype}: {ratio:.4} of the twin's");
        }
    }
}

#[test]
fn four_bits_come_close_to_the_twin() {
    check(int(4), 128, 24, true, 1.005);
    check(int(4), 32, 60, true, 1.005);
}

#[test]
fn few_bits_come_close_to_the_twin() {
    check(int(2), 64, 24, true, 1.005);
    check(int(3), 128, 16, true, 1.005);
}

#[test]
fn eight_bits_come_close_to_the_twin() {
    check(int(8), 600, 16, true, 1.005);
    check(int(8), 128, 24, true, 1.02);
}

#[test]
fn zero_points_come_close_to_the_twin() {
    check(int(4), 128, 4, false, 1.005);
    check(int(4), 32, 12, false, 1.005);
    check(int(8), 600, 2, false, 1.01);
}

#[test]
fn floats_come_close_to_the_twin() {
    check(Numeric::E4m3, 600, 12, true, 1.02);
}

#[test]
fn no_tile_has_more_error_than_nearest_gives_it() {
    let block = Granularity::Block { rows: 5, columns: 48 };
    let rows = [
        (int(8), Granularity::Channel, true),
        (int(8), Granularity::Channel, false),
        (int(4), Granularity::Group(32), true),
        (int(4), Granularity::Group(32), false),
        (int(2), Granularity::Group(16), true),
        (int(2), Granularity::Channel, true),
        (int(2), Granularity::Group(32), false),
        (int(3), Granularity::Group(32), true),
        (int(3), Granularity::Channel, false),
        (int(3), block, false),
        (int(6), block, true),
        (Numeric::E4m3, Granularity::Channel, true),
        (Numeric::E4m3, block, true),
    ];
    for (numeric, granularity, symmetric) in rows {
        let scheme = scheme(numeric, granularity, symmetric);
        for (source, dtype) in Source::ALL.into_iter().flat_map(|s| DTYPES.map(|d| (s, d))) {
            let weights = source.weights(160 * 23);
            let tiles = |quantizer: &dyn Quantizer| {
                let matrix = quantized(quantizer, &weights, 160, scheme, dtype);
                errors(&matrix, &weights)
            };
            let (searched, nearest) = (tiles(&Search), tiles(&Nearest));
            let worse = searched.iter().zip(&nearest).position(|(a, b)| a > b);
            assert_eq!(worse, None, "{scheme} {granularity:?} {source:?} {dtype}");
            assert!(searched.iter().sum::<f64>() < nearest.iter().sum(), "{scheme} {source:?}");
        }
    }
}

/// A constant, one of each sign, one that stands alone, and one weight of another magnitude: what two
/// or three bits can be fooled by.
#[test]
fn few_bits_never_lose_to_nearest_on_rows_with_few_values() {
    const ROW: usize = 96;
    let rows: [fn(usize) -> f32; 6] = [
        |_| 0.3,
        |_| -0.017,
        |i| if i % 2 == 0 { 0.02 } else { -0.02 },
        |i| if i == 40 { 1.0 } else { 0.0 },
        |i| if i == 7 { -5.0 } else { 0.01 },
        |i| [-0.03, 0.01, 0.02][i % 3],
    ];
    let weights: Vec<f32> = rows.iter().flat_map(|row| (0..ROW).map(row)).collect();
    for (bits, symmetric) in [2, 3].into_iter().flat_map(|bits| [(bits, true), (bits, false)]) {
        for granularity in [Granularity::Channel, Granularity::Group(32)] {
            let scheme = scheme(int(bits), granularity, symmetric);
            for dtype in DTYPES {
                let tiles = |quantizer: &dyn Quantizer| {
                    errors(&quantized(quantizer, &weights, ROW, scheme, dtype), &weights)
                };
                let (searched, nearest) = (tiles(&Search), tiles(&Nearest));
                let worse = searched.iter().zip(&nearest).position(|(a, b)| a > b);
                assert_eq!(worse, None, "{scheme} {dtype}: {searched:?} {nearest:?}");
            }
        }
    }
}
