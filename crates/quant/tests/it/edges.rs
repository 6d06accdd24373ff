//! Matrices of unusual size, weights of unusual magnitude, and what is refused.

use crate::weights::Source;
use crate::{int, scheme};
use llmopt_quant::{Nearest, QuantError, Quantizer, Search};
use llmopt_scheme::{Granularity, Numeric, QuantizedMatrix, Scheme, TileError};
use llmopt_tensor::{Dtype, rounded};
use ndarray::{Array2, ArrayView2, s};

const QUANTIZERS: [&dyn Quantizer; 2] = [&Nearest, &Search];
const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::BF16, Dtype::F16];
const BLOCK: Granularity = Granularity::Block { rows: 4, columns: 24 };

fn schemes() -> Vec<Scheme> {
    let mut schemes = vec![];
    for granularity in [Granularity::Channel, Granularity::Group(1), BLOCK] {
        for bits in 2..=8 {
            schemes
                .extend([true, false].map(|symmetric| scheme(int(bits), granularity, symmetric)));
        }
        schemes.push(scheme(Numeric::E4m3, granularity, true));
    }
    schemes
}

/// Quantizes with every method, scheme and dtype of scales.
fn check(weights: ArrayView2<'_, f32>, test: impl Fn(&QuantizedMatrix, Dtype, &str)) {
    for quantizer in QUANTIZERS {
        for scheme in schemes() {
            for dtype in DTYPES {
                let case =
                    format!("{} {scheme} {:?} {dtype}", quantizer.name(), scheme.granularity);
                let matrix = quantizer.quantize(weights, &scheme, dtype).expect(&case);
                assert_eq!(matrix.codes.len(), weights.len(), "{case}");
                assert_eq!(matrix.grid.scales.len(), matrix.grid.tiles.count(), "{case}");
                for &scale in &matrix.grid.scales {
                    assert!(scale.is_finite() && scale != 0.0, "{case}: {scale}");
                    assert_eq!(rounded(dtype, scale), scale, "{case}");
                }
                let zero_points = if scheme.symmetric { 0 } else { matrix.grid.tiles.count() };
                assert_eq!(matrix.grid.zero_points.len(), zero_points, "{case}");
                test(&matrix, dtype, &case);
            }
        }
    }
}

/// Weights of both signs up to `magnitude`.
fn ramp(magnitude: f32) -> Array2<f32> {
    let weight = |(row, column): (usize, usize)| {
        let unit = ((row * 31 + column * 17) % 101) as f32 / 50.0 - 1.0;
        unit * magnitude
    };
    Array2::from_shape_fn((5, 50), weight)
}

fn values(matrix: &QuantizedMatrix) -> Vec<f32> {
    let mut values = vec![0.0; matrix.codes.len()];
    matrix.dequantize_into(&mut values);
    values
}

#[test]
fn zeros_of_either_sign_get_the_epsilon_for_a_scale_and_stay_zeros() {
    for zero in [0.0, -0.0] {
        check(Array2::from_elem((3, 50), zero).view(), |matrix, dtype, case| {
            let epsilon = match dtype {
                Dtype::F32 => f32::EPSILON,
                Dtype::BF16 => 0.007_812_5,
                _ => 0.000_976_562_5,
            };
            assert!(matrix.grid.scales.iter().all(|&scale| scale == epsilon), "{case}");
            assert!(matrix.grid.zero_points.iter().all(|&zero| zero == 0), "{case}");
            assert!(matrix.codes.iter().all(|&code| code & 0x7f == 0), "{case}");
            assert!(values(matrix).iter().all(|&value| value == 0.0), "{case}");
        });
    }
}

#[test]
fn weights_of_every_magnitude_get_finite_values_that_are_no_worse_than_zeros() {
    for magnitude in [1e-45, 1e-40, 1e-38, 1e-30, 1e-12, 1e-3, 1.0, 1e6, 1e30, 1e38, f32::MAX] {
        let weights = ramp(magnitude);
        check(weights.view(), |matrix, _, case| {
            let values = values(matrix);
            assert!(values.iter().all(|value| value.is_finite()), "{case} {magnitude}");
            // In units of the magnitude, since squares of the weights would overflow or vanish.
            let square = |x: f32| (f64::from(x) / f64::from(magnitude)).powi(2);
            let noise: f64 = weights.iter().zip(&values).map(|(w, q)| square(w - q)).sum();
            let signal: f64 = weights.iter().map(|&w| square(w)).sum();
            assert!(noise <= signal, "{case} {magnitude}: {noise} of {signal}");
        });
    }
}

#[test]
fn eight_bits_keep_weights_of_every_magnitude_that_their_scales_reach() {
    let channel = scheme(int(8), Granularity::Channel, true);
    for (dtype, magnitudes) in [
        (Dtype::F32, [1e-34f32, 1e-20, 1e20, 1e38]),
        (Dtype::BF16, [1e-34, 1e-20, 1e20, 1e38]),
        (Dtype::F16, [0.01, 1.0, 1e3, 8e6]),
    ] {
        for (magnitude, quantizer) in
            magnitudes.into_iter().flat_map(|m| QUANTIZERS.map(|q| (m, q)))
        {
            let weights = ramp(magnitude);
            let matrix = quantizer.quantize(weights.view(), &channel, dtype).expect("finite");
            for (weight, value) in weights.iter().zip(values(&matrix)) {
                let error = (weight - value).abs() / magnitude;
                assert!(error < 0.009, "{} {dtype} {magnitude}: {error}", quantizer.name());
            }
        }
    }
}

#[test]
fn what_does_not_reach_a_scale_vanishes_or_saturates() {
    let channel = scheme(int(8), Granularity::Channel, true);
    for quantizer in QUANTIZERS {
        let codes = |weights: &Array2<f32>| {
            quantizer.quantize(weights.view(), &channel, Dtype::F16).expect("finite").codes
        };
        assert!(codes(&ramp(1e-12)).iter().all(|&code| code == 0), "{}", quantizer.name());
        let huge = codes(&Array2::from_elem((1, 3), 1e30));
        assert!(huge.iter().all(|&code| code.unsigned_abs() >= 127), "{}", quantizer.name());
    }
}

#[test]
fn matrices_may_have_one_row_one_column_or_nothing() {
    for shape in [(1, 50), (50, 1), (1, 1), (0, 50), (0, 0), (50, 0)] {
        let weights = Array2::from_shape_fn(shape, |(row, column)| row as f32 - column as f32);
        check(weights.view(), |matrix, _, case| {
            assert_eq!((matrix.rows(), matrix.columns()), shape, "{case}");
        });
    }
}

#[test]
fn the_search_keeps_constant_tiles_but_for_the_rounding_of_their_scale() {
    for (weight, scheme) in
        [0.3f32, -0.3].into_iter().flat_map(|w| schemes().into_iter().map(move |s| (w, s)))
    {
        for (dtype, tolerance) in [(Dtype::F32, 1e-6), (Dtype::F16, 5e-4), (Dtype::BF16, 4e-3)] {
            let weights = Array2::from_elem((5, 50), weight);
            let matrix = Search.quantize(weights.view(), &scheme, dtype).expect("finite");
            for value in values(&matrix) {
                assert!((value / weight - 1.0).abs() < tolerance, "{scheme} {dtype}: {value}");
            }
        }
    }
}

#[test]
fn the_first_weight_that_is_not_finite_is_named() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for (scheme, quantizer) in schemes().into_iter().flat_map(|s| QUANTIZERS.map(|q| (s, q))) {
            let mut weights = ramp(1.0);
            weights[[2, 33]] = value;
            weights[[4, 49]] = value;
            let error = quantizer.quantize(weights.view(), &scheme, Dtype::F32).expect_err("NaN");
            let expected = format!("the weight at row 2, column 33 is {value}");
            assert_eq!(error.to_string(), expected, "{scheme}");
        }
    }
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let weights = ramp(1.0);
    let check = |scheme: &Scheme, dtype, expected: QuantError| {
        for quantizer in QUANTIZERS {
            assert_eq!(quantizer.quantize(weights.view(), scheme, dtype), Err(expected.clone()));
        }
    };
    let channel = scheme(int(8), Granularity::Channel, true);
    check(&channel, Dtype::F8E4M3, QuantError::ScaleDtype(Dtype::F8E4M3));
    check(
        &scheme(Numeric::E4m3, Granularity::Channel, false),
        Dtype::F32,
        QuantError::FloatZeroPoint,
    );
    check(
        &scheme(int(4), Granularity::Group(32), true),
        Dtype::F32,
        TileError::Group { columns: 50, group: 32 }.into(),
    );
}

#[test]
fn bands_and_views_are_quantized_as_the_whole_matrix_is() {
    let weights = Source::Laplace.weights(9 * 50);
    let weights = Array2::from_shape_vec((9, 50), weights).expect("nine rows");
    let transposed = weights.t().as_standard_layout().into_owned();
    for (scheme, quantizer) in schemes().into_iter().flat_map(|s| QUANTIZERS.map(|q| (s, q))) {
        let quantize = |weights| quantizer.quantize(weights, &scheme, Dtype::BF16).expect("finite");
        let whole = quantize(weights.view());
        assert_eq!(quantize(transposed.t()), whole, "{scheme}");
        let (upper, lower) =
            (quantize(weights.slice(s![..4, ..])), quantize(weights.slice(s![4.., ..])));
        assert_eq!([upper.codes, lower.codes].concat(), whole.codes, "{scheme}");
        assert_eq!([upper.grid.scales, lower.grid.scales].concat(), whole.grid.scales, "{scheme}");
    }
}
