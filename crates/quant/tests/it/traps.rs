//! Inputs and weights that break naive solvers.

use crate::inputs::{Inputs, Sums, gemm};
use crate::weights::Source;
use crate::{int, scheme};
use llmopt_linalg::Symmetric;
use llmopt_quant::{
    Moments, OutputError, Quantizer, Search, Settings, Solver, SolverError, output_error,
};
use llmopt_scheme::{Granularity, Numeric, QuantizedMatrix, Scheme};
use llmopt_tensor::Dtype;
use ndarray::ArrayView2;

const ROWS: usize = 67;
const COLUMNS: usize = 96;

fn w4g32() -> Scheme {
    scheme(int(4), Granularity::Group(32), true)
}

fn prepared<'a>(moments: &Moments<'a>, name: &str, scheme: &Scheme) -> Solver<'a> {
    let settings = Settings::named(name).expect("a name").on(scheme);
    Solver::prepare(gemm(), moments, &settings).expect("moments of finite inputs")
}

fn quantized(
    moments: &Moments<'_>,
    name: &str,
    weights: &[f32],
    scheme: &Scheme,
) -> QuantizedMatrix {
    let solver = prepared(moments, name, scheme);
    solver.quantize(weights, scheme, Dtype::BF16).expect("a scheme that fits")
}

fn searched(weights: &[f32], columns: usize, scheme: &Scheme) -> QuantizedMatrix {
    let shape = (weights.len() / columns, columns);
    let view = ArrayView2::from_shape(shape, weights).expect("whole rows");
    Search.quantize(view, scheme, Dtype::BF16).expect("finite weights")
}

fn error(moments: &Moments<'_>, weights: &[f32], matrix: &QuantizedMatrix) -> OutputError {
    let mut values = vec![0.0; weights.len()];
    matrix.dequantize_into(&mut values);
    assert!(values.iter().all(|value| value.is_finite()));
    output_error(gemm(), moments, weights, &values)
}

/// Inputs changed by `spoil`, column by column.
fn spoiled(tokens: usize, spoil: impl Fn(usize, &mut [f32])) -> Sums {
    let mut inputs = Inputs::new(7, tokens, ROWS, COLUMNS);
    for all in [&mut inputs.now, &mut inputs.before] {
        for (token, row) in all.chunks_mut(COLUMNS).enumerate() {
            spoil(token, row);
        }
    }
    inputs.sums()
}

/// Every method loses less at the outputs than the search that does not know of them.
fn check(sums: &Sums, weights: &[f32], scheme: &Scheme) {
    let moments = sums.alone();
    let blind = error(&moments, weights, &searched(weights, COLUMNS, scheme)).error;
    for name in ["gptq", "gptq+cd"] {
        let found = error(&moments, weights, &quantized(&moments, name, weights, scheme)).error;
        assert!(found <= blind, "{scheme} {name}: {found} {blind}");
    }
    let moments = sums.whole();
    for name in ["qep", "qep+cd"] {
        let found = error(&moments, weights, &quantized(&moments, name, weights, scheme)).error;
        assert!(found <= blind, "{scheme} {name}: {found} {blind}");
    }
}

#[test]
fn few_tokens_constant_inputs_and_twins_among_columns_do_no_harm() {
    let weights = Source::Trained.weights(ROWS * COLUMNS);
    let mut without_a_column = weights.clone();
    without_a_column.iter_mut().skip(5).step_by(COLUMNS).for_each(|weight| *weight = 0.0);
    for scheme in [
        w4g32(),
        scheme(int(3), Granularity::Channel, false),
        scheme(int(2), Granularity::Group(24), false),
        scheme(int(8), Granularity::Channel, true),
    ] {
        check(&spoiled(300, |_, _| {}), &weights, &scheme);
        check(&spoiled(300, |_, _| {}), &without_a_column, &scheme);
        check(&spoiled(3, |_, _| {}), &weights, &scheme);
        check(&spoiled(300, |_, row| row.fill(0.5)), &weights, &scheme);
        check(&spoiled(300, |_, row| row.copy_within(..48, 48)), &weights, &scheme);
        check(&spoiled(300, |_, row| row[17] = 3e4), &weights, &scheme);
        check(&spoiled(300, |_, row| row.iter_mut().for_each(|x| *x *= 1e-15)), &weights, &scheme);
    }
}

#[test]
fn a_dead_column_gets_the_nearest_codes_and_disturbs_no_other() {
    let sums = spoiled(300, |_, row| row[40] = 0.0);
    let weights = Source::Normal.weights(ROWS * COLUMNS);
    let mut other = weights.clone();
    other.iter_mut().skip(40).step_by(COLUMNS).for_each(|weight| *weight *= -0.5);
    for name in ["gptq", "gptq+cd", "qep"] {
        let moments = sums.whole();
        assert_eq!(prepared(&moments, name, &w4g32()).dead_columns(), 1);
        let found = quantized(&moments, name, &weights, &w4g32());
        for row in 0..ROWS {
            let index = row * COLUMNS + 40;
            assert_eq!(found.codes[index], found.grid.nearest(row, 40, weights[index]), "{name}");
        }
        // Its tile may have other scales then, but no other tile.
        let changed = quantized(&moments, name, &other, &w4g32());
        if name == "gptq" {
            let before = |matrix: &QuantizedMatrix| -> Vec<i8> {
                let rows = matrix.codes.chunks(COLUMNS);
                rows.flat_map(|row| row[..32].iter().chain(&row[64..])).copied().collect()
            };
            let same =
                before(&found).iter().zip(before(&changed)).filter(|(a, b)| **a == *b).count();
            assert!(same as f64 > 0.9 * before(&found).len() as f64);
        }
    }
}

#[test]
fn inputs_that_were_all_zero_leave_the_plain_search() {
    let sums = spoiled(10, |_, row| row.fill(0.0));
    let weights = Source::Normal.weights(ROWS * COLUMNS);
    let moments = sums.alone();
    let solver = prepared(&moments, "gptq", &w4g32());
    assert_eq!((solver.dead_columns(), solver.damping()), (COLUMNS, 1.0));
    let found = quantized(&moments, "gptq", &weights, &w4g32());
    assert_eq!(found, searched(&weights, COLUMNS, &w4g32()));
}

#[test]
fn damping_is_raised_until_there_is_a_factor() {
    let check = |off_diagonal: f64, damping: f64, expected: Result<f64, SolverError>| {
        let mut gram = Symmetric::zeros(2);
        gram.set(0, 0, 2.0);
        gram.set(1, 1, 2.0);
        gram.set(0, 1, off_diagonal);
        let moments = Moments { gram: &gram, cross: None, residual: None, tokens: 5 };
        let settings = Settings { damping, ..Settings::named("gptq").expect("a name") };
        let solver = Solver::prepare(gemm(), &moments, &settings);
        assert_eq!(solver.map(|solver| solver.damping()), expected);
    };
    check(1.0, 0.01, Ok(0.01));
    // Relative to the mean of the diagonal, the least eigenvalue is -0.05.
    check(2.1, 0.01, Ok(0.1));
    check(2.0, 0.0, Ok(1e-6));
    check(f64::NAN, 0.01, Err(SolverError::NotPositiveDefinite { damping: 1e5 }));
    let no_squares = SolverError::NotPositiveDefinite { damping: 1e5 };
    check(1e9, 0.01, Err(no_squares));
}

#[test]
fn moments_that_are_not_finite_are_refused() {
    for value in [f64::NAN, f64::INFINITY] {
        let mut gram = Symmetric::zeros(3);
        gram.set(1, 1, value);
        let moments = Moments { gram: &gram, cross: None, residual: None, tokens: 5 };
        let settings = Settings::named("gptq").expect("a name");
        let error = Solver::prepare(gemm(), &moments, &settings).err();
        assert_eq!(error, Some(SolverError::NotFinite));
    }
}

#[test]
fn requests_that_do_not_fit_are_refused() {
    let sums = spoiled(30, |_, _| {});
    let weights = Source::Normal.weights(ROWS * COLUMNS);
    let refused = |weights: &[f32], scheme: &Scheme| {
        let moments = sums.alone();
        let solver = prepared(&moments, "gptq", scheme);
        solver.quantize(weights, scheme, Dtype::BF16).expect_err("no codes").to_string()
    };
    let block = Granularity::Block { rows: 128, columns: 128 };
    assert_eq!(
        refused(&weights, &scheme(Numeric::E4m3, block, true)),
        "rows of a block share a scale, but this method chooses those of each row on its own"
    );
    let odd = scheme(int(4), Granularity::Group(36), true);
    assert_eq!(refused(&weights, &odd), "a row of 96 columns is no whole number of groups of 36");
    let mut broken = weights.clone();
    broken[3 * COLUMNS + 70] = f32::INFINITY;
    assert_eq!(refused(&broken, &w4g32()), "the weight at row 3, column 70 is inf");
    let view = ArrayView2::from_shape((ROWS, COLUMNS), &weights).expect("whole rows");
    let error = Search::weighted(&[1.0; 95]).quantize(view, &w4g32(), Dtype::BF16);
    let error = error.expect_err("a column without importance").to_string();
    assert_eq!(error, "inputs of 95 columns were observed, but a row has 96");
}

#[test]
fn floats_are_rounded_and_gone_over_like_integers() {
    let sums = spoiled(300, |_, _| {});
    let weights = Source::Trained.weights(ROWS * COLUMNS);
    check(&sums, &weights, &scheme(Numeric::E4m3, Granularity::Channel, true));
}

#[test]
fn results_depend_on_no_number_of_threads() {
    let sums = spoiled(300, |_, _| {});
    let weights = Source::Trained.weights(ROWS * COLUMNS);
    for scheme in [w4g32(), scheme(int(3), Granularity::Channel, false)] {
        let on = |threads: usize| {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| {
                let matrix = quantized(&sums.whole(), "qep+cd", &weights, &scheme);
                let error = error(&sums.whole(), &weights, &matrix);
                (matrix, error)
            })
        };
        let one = on(1);
        assert!(on(2) == one && on(4) == one, "{scheme}");
    }
}

#[test]
fn importance_moves_scales_to_where_they_count() {
    let weights = Source::Laplace.weights(ROWS * COLUMNS);
    let importance: Vec<f64> = (0..COLUMNS).map(|i| if i % 7 == 0 { 100.0 } else { 0.1 }).collect();
    let view = ArrayView2::from_shape((ROWS, COLUMNS), &weights).expect("whole rows");
    let block = Granularity::Block { rows: 30, columns: 40 };
    for scheme in [
        w4g32(),
        scheme(int(3), Granularity::Channel, false),
        scheme(int(8), Granularity::Channel, true),
        scheme(Numeric::E4m3, block, true),
    ] {
        let weighted = |matrix: &QuantizedMatrix| -> f64 {
            let mut values = vec![0.0; weights.len()];
            matrix.dequantize_into(&mut values);
            let errors = weights.iter().zip(&values).map(|(w, q)| f64::from(w - q).powi(2));
            errors.enumerate().map(|(i, square)| importance[i % COLUMNS] * square).sum()
        };
        let quantize = |quantizer: &dyn Quantizer| {
            quantizer.quantize(view, &scheme, Dtype::BF16).expect("finite weights")
        };
        let found = weighted(&quantize(&Search::weighted(&importance)));
        assert!(found < 0.98 * weighted(&quantize(&Search)), "{scheme}");
        // All alike, whatever that is, is no importance at all.
        assert_eq!(quantize(&Search::weighted(&[3.0; COLUMNS])), quantize(&Search));
        assert_eq!(quantize(&Search::weighted(&[0.0; COLUMNS])), quantize(&Search));
    }
}
