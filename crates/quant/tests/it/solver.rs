//! The solver against its twins.

use crate::inputs::{Inputs, Sums, gemm};
use crate::solver_twin::{Square, brain_quantized, damped, descended, error, targets};
use crate::weights::Source;
use crate::{int, scheme};
use llmopt_quant::{Correction, Descent, Moments, Settings, Solver, output_error, squared_outputs};
use llmopt_scheme::{Granularity, QuantizedMatrix, Scheme};
use llmopt_tensor::Dtype;

const DAMPING: f64 = 0.02;

fn plain() -> Settings {
    Settings { damping: DAMPING, act_order: false, ..Settings::named("gptq").expect("a name") }
}

fn solved(
    settings: &Settings,
    moments: &Moments<'_>,
    weights: &[f32],
    scheme: &Scheme,
) -> QuantizedMatrix {
    let solver = Solver::prepare(gemm(), moments, settings).expect("moments of finite inputs");
    solver.quantize(weights, scheme, Dtype::BF16).expect("a scheme that fits")
}

fn values(matrix: &QuantizedMatrix) -> Vec<f64> {
    let mut values = vec![0.0; matrix.codes.len()];
    matrix.dequantize_into(&mut values);
    values.into_iter().map(f64::from).collect()
}

/// A matrix and its inputs.
struct Case {
    scheme: Scheme,
    weights: Vec<f32>,
    sums: Sums,
    gram: Square,
}

impl Case {
    fn new(seed: u64, rows: usize, columns: usize, scheme: Scheme) -> Self {
        let weights = Source::Normal.weights(rows * columns);
        let sums = Inputs::new(seed, 2 * columns + 7, rows, columns).sums();
        let gram = damped(&sums, DAMPING);
        Self { scheme, weights, sums, gram }
    }

    fn columns(&self) -> usize {
        self.gram.len()
    }

    /// The columns in the order in which they are rounded, the greatest first, `group` of them
    /// together.
    fn order(&self, group: usize) -> Vec<usize> {
        let size = |columns: &[usize]| columns.iter().map(|&i| self.gram[i][i]).sum::<f64>();
        let columns: Vec<usize> = (0..self.columns()).collect();
        let mut groups: Vec<Vec<usize>> = columns.chunks(group).map(<[usize]>::to_vec).collect();
        groups.sort_by(|a, b| size(b).total_cmp(&size(a)));
        groups
            .iter_mut()
            .for_each(|group| group.sort_by(|&a, &b| size(&[b]).total_cmp(&size(&[a]))));
        groups.concat()
    }
}

/// Schemes and sizes that divide nothing: rows, columns, bits, columns of a group or none, symmetry.
const CASES: [(usize, usize, u8, usize, bool); 9] = [
    (9, 96, 4, 32, true),
    (70, 264, 4, 24, true),
    (65, 200, 3, 40, false),
    (5, 131, 4, 0, true),
    (66, 301, 3, 0, false),
    (13, 384, 4, 192, true),
    (7, 90, 2, 10, false),
    (8, 77, 8, 0, true),
    (150, 72, 4, 36, true),
];

fn each_case(mut check: impl FnMut(&Case)) {
    for (seed, (rows, columns, bits, group, symmetric)) in (1..).zip(CASES) {
        let granularity = if group == 0 { Granularity::Channel } else { Granularity::Group(group) };
        check(&Case::new(seed, rows, columns, scheme(int(bits), granularity, symmetric)));
    }
}

/// Roundings at a tie may fall either way, and all that follows with them.
fn assert_close(found: f64, expected: f64, tolerance: f64, what: &Scheme) {
    assert!((found / expected - 1.0).abs() < tolerance, "{what}: {found} {expected}");
}

#[test]
fn rounding_is_that_of_optimal_brain_quantization() {
    each_case(|case| {
        let columns = case.columns();
        let group = match case.scheme.granularity {
            Granularity::Group(size) => size,
            _ => columns,
        };
        let by_size = Settings { act_order: true, ..plain() };
        for (settings, order, grids_first) in [
            (plain(), (0..columns).collect::<Vec<_>>(), false),
            (by_size, case.order(columns), true),
            (by_size.on(&case.scheme), case.order(group), false),
        ] {
            let fast = solved(&settings, &case.sums.alone(), &case.weights, &case.scheme);
            let targets: Vec<f64> = case.weights.iter().copied().map(f64::from).collect();
            let slow = brain_quantized(&targets, &case.gram, &order, &case.scheme, grids_first);
            let error = |values: &[f64]| error(values, &targets, &case.gram);
            assert_close(error(&values(&fast)), error(&slow), 0.01, &case.scheme);
        }
    });
}

#[test]
fn weights_are_corrected_by_the_formula() {
    each_case(|case| {
        let correction = Correction::Whole { share: 0.5 };
        let settings = Settings { correction, ..plain() };
        let order: Vec<usize> = (0..case.columns()).collect();
        let check = |moments: Moments<'_>, targets: Vec<f64>| {
            let fast = solved(&settings, &moments, &case.weights, &case.scheme);
            let slow = brain_quantized(&targets, &case.gram, &order, &case.scheme, false);
            let error = |values: &[f64]| error(values, &targets, &case.gram);
            assert_close(error(&values(&fast)), error(&slow), 0.01, &case.scheme);
        };
        let residual = &case.sums.residual;
        let of = |residual: &[f32]| targets(&case.weights, residual, &case.sums, &case.gram, 0.5);
        check(case.sums.whole(), of(residual));
        let unchanged = vec![0.0; residual.len()];
        check(Moments { residual: None, ..case.sums.whole() }, of(&unchanged));
    });
}

#[test]
fn descent_is_that_by_trying_every_code() {
    for (seed, (rows, columns, bits, group, symmetric)) in
        [(9, 96, 4, 32, true), (4, 60, 3, 12, false), (3, 120, 2, 40, true), (66, 20, 4, 0, false)]
            .into_iter()
            .enumerate()
    {
        let granularity = if group == 0 { Granularity::Channel } else { Granularity::Group(group) };
        let scheme = scheme(int(bits), granularity, symmetric);
        let case = Case::new(seed as u64 + 20, rows, columns, scheme);
        let settings = Settings { correction: Correction::Whole { share: 0.5 }, ..plain() };
        let moments = case.sums.whole();
        let mut slow = solved(&settings, &moments, &case.weights, &scheme);
        let targets = targets(&case.weights, &case.sums.residual, &case.sums, &case.gram, 0.5);
        let error = |matrix: &QuantizedMatrix| error(&values(matrix), &targets, &case.gram);
        let before = error(&slow);
        descended(&mut slow, &targets, &case.gram);
        let settings = Settings { descent: Some(Descent { rounds: 1 }), ..settings };
        let fast = solved(&settings, &moments, &case.weights, &scheme);
        assert!(error(&fast) < 0.99 * before);
        assert_close(error(&fast), error(&slow), 0.01, &scheme);
    }
}

#[test]
fn every_round_of_descent_takes_from_the_error() {
    each_case(|case| {
        let error = |rounds| {
            let settings = Settings { descent: Some(Descent { rounds }), ..plain() };
            let moments = case.sums.alone();
            let targets: Vec<f64> = case.weights.iter().copied().map(f64::from).collect();
            let matrix = solved(&settings, &moments, &case.weights, &case.scheme);
            error(&values(&matrix), &targets, &case.gram)
        };
        let errors: Vec<f64> = (0..4).map(error).collect();
        for pair in errors.windows(2) {
            assert!(pair[1] <= pair[0] * (1.0 + 1e-5), "{}: {errors:?}", case.scheme);
        }
        assert!(errors[1] < errors[0] * 0.999, "{}: {errors:?}", case.scheme);
    });
}

/// What the codes stand for and what they were to come close to are known apart from the solver, and
/// outputs are multiplied out token by token.
#[test]
fn the_errors_that_rounding_leaves_are_those_of_the_outputs() {
    each_case(|case| {
        let columns = case.columns();
        let inputs = Inputs::new(7, 40, case.weights.len() / columns, columns);
        let seen = inputs.sums();
        let weights: Vec<f64> = case.weights.iter().copied().map(f64::from).collect();
        let residual = &case.sums.residual;
        let moved = targets(&case.weights, residual, &case.sums, &case.gram, 0.5);
        for (name, moments, aims) in [
            ("gptq", case.sums.alone(), &weights),
            ("gptq+cd", case.sums.alone(), &weights),
            ("qep+cd", case.sums.whole(), &moved),
        ] {
            let named = Settings::named(name).expect("a name");
            let settings = Settings { damping: DAMPING, ..named }.on(&case.scheme);
            let solver = Solver::prepare(gemm(), &moments, &settings).expect("finite");
            let rounded = solver.rounded(&case.weights, &case.scheme, Dtype::BF16).expect("fits");
            let found = squared_outputs(gemm(), seen.alone().gram, &rounded.errors);
            let fitted = squared_outputs(gemm(), moments.gram, &rounded.errors);
            assert_close(rounded.squared_outputs, fitted, 1e-3, &case.scheme);
            let values = values(&rounded.codes);
            let mut expected = 0.0;
            for token in inputs.now.chunks_exact(columns) {
                let rows = aims.chunks_exact(columns).zip(values.chunks_exact(columns));
                for (aims, values) in rows {
                    let error = aims.iter().zip(values).zip(token);
                    let error: f64 = error.map(|((a, q), &x)| (a - q) * f64::from(x)).sum();
                    expected += error * error;
                }
            }
            assert!(
                (found / expected - 1.0).abs() < 1e-3,
                "{name}, {}: {found} {expected}",
                case.scheme
            );
        }
    });
}

/// What methods share, one solver and one rounding, gives each of them the bits that it has alone.
#[test]
fn methods_that_share_a_solver_find_what_each_finds_alone() {
    each_case(|case| {
        let settings = |name: &str| {
            let named = Settings::named(name).expect("a name");
            Settings { damping: DAMPING, ..named }.on(&case.scheme)
        };
        let moments = case.sums.whole();
        let prepared = |settings: &Settings| {
            Solver::prepare(gemm(), &moments, settings).expect("moments of finite inputs")
        };
        let (plain, shared) = (settings("gptq"), prepared(&settings("gptq")));
        for (base, descending) in [("gptq", "gptq+cd"), ("qep", "qep+cd")] {
            let (base, descending) = (settings(base), settings(descending));
            assert!(plain.shares_solver(&base) && plain.shares_solver(&descending));
            let rounding = shared
                .rounding(base.correction, &case.weights, &case.scheme, Dtype::BF16)
                .expect("a scheme that fits");
            let alone = |settings: &Settings| {
                let solver = prepared(settings);
                solver.rounded(&case.weights, &case.scheme, Dtype::BF16).expect("it fits")
            };
            assert_eq!(rounding.clone().finished(), alone(&base), "{}", case.scheme);
            let descended = rounding.descended(descending.descent).finished();
            assert_eq!(descended, alone(&descending), "{}", case.scheme);
        }
        assert!(!plain.shares_solver(&Settings { act_order: false, ..plain }));
        assert!(!plain.shares_solver(&Settings { damping: 2.0 * DAMPING, ..plain }));
    });
}

#[test]
fn output_errors_are_those_of_the_outputs() {
    for (seed, (rows, columns)) in [(9, 96), (70, 131), (1, 1)].into_iter().enumerate() {
        let inputs = Inputs::new(seed as u64 + 40, 50, rows, columns);
        let weights = Source::Normal.weights(rows * columns);
        let quantized: Vec<f32> = weights.iter().map(|w| (w * 50.0).round() / 50.0).collect();
        let sums = inputs.sums();
        let (mut apart, mut before, mut signal) = (0.0, 0.0, 0.0);
        for token in 0..50 {
            for row in 0..rows {
                let output = |weights: &[f32], inputs: &[f32]| -> f64 {
                    let weights = &weights[row * columns..][..columns];
                    let inputs = &inputs[token * columns..][..columns];
                    weights.iter().zip(inputs).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum()
                };
                let stream = f64::from(inputs.stream[token * rows + row]);
                let wanted = output(&weights, &inputs.before) + stream;
                apart += (output(&quantized, &inputs.now) - wanted).powi(2);
                before += (output(&weights, &inputs.now) - wanted).powi(2);
                signal += output(&weights, &inputs.now).powi(2);
            }
        }
        let found = output_error(gemm(), &sums.whole(), &weights, &quantized);
        assert!((found.error - (apart - before)).abs() < 1e-4 * (apart + before), "{found:?}");
        assert!((found.signal / signal - 1.0).abs() < 1e-5);
    }
}
