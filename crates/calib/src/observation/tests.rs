//! Observations of divided inputs, and maxima.

use super::*;
use llmopt_linalg::{KernelChoice, Precision};

const ALL: Needs = Needs { gram: true, cross: true, maxima: true, fourths: true };
const COLUMNS: usize = 131;
const RESIDUAL: usize = 5;

/// The inputs of some tokens and what they were before, and likewise what outputs are added to.
struct Tokens {
    inputs: [Matrix; 2],
    residual: [Matrix; 2],
}

/// Numbers between -8 and 8, other ones for another seed.
fn matrix(rows: usize, columns: usize, seed: usize) -> Matrix {
    let value = |i: usize| ((i * 7919 + seed * 131) % 4093) as f32 / 255.5 - 8.0;
    let values = (0..rows * columns).map(value).collect();
    Matrix::from_values(rows, columns, values).expect("as many as that")
}

impl Tokens {
    fn new(count: usize, seed: usize) -> Self {
        let inputs = [matrix(count, COLUMNS, seed), matrix(count, COLUMNS, seed + 1)];
        Self {
            inputs,
            residual: [matrix(count, RESIDUAL, seed), matrix(count, RESIDUAL, seed + 1)],
        }
    }

    fn divided_by(&self, scales: &[f32]) -> Self {
        let divided = |inputs: &Matrix| {
            let rows = inputs.values().chunks(COLUMNS);
            let values = rows.flat_map(|row| row.iter().zip(scales).map(|(x, s)| x / s)).collect();
            Matrix::from_values(inputs.rows(), COLUMNS, values).expect("as many as before")
        };
        Self { inputs: self.inputs.each_ref().map(divided), residual: self.residual.clone() }
    }

    fn observed(&self, needs: Needs) -> Observation {
        let gemm = Gemm::new(Precision::F32, KernelChoice::Portable).expect("a kernel");
        let extent = Extent { columns: COLUMNS, residual: Some(RESIDUAL) };
        let mut observation = Observation::new(extent, needs);
        let ([seen, inputs], [now, then]) = (&self.inputs, &self.residual);
        observation.add_beside(gemm, Before { inputs, residual: Some((then, now)) }, seen);
        observation
    }
}

/// All numbers of an observation, by the sum that they belong to.
fn numbers(observation: &Observation) -> [Vec<f64>; 6] {
    let gram = observation.gram().expect("asked for");
    let triangle = (0..COLUMNS).flat_map(|i| (0..=i).map(move |j| (i, j)));
    let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect();
    [
        observation.squares().to_vec(),
        triangle.map(|(i, j)| gram.get(i, j)).collect(),
        wide(observation.cross().expect("asked for").values()),
        wide(observation.residual().expect("asked for").values()),
        wide(observation.maxima().expect("asked for")),
        observation.fourths().expect("asked for").to_vec(),
    ]
}

#[test]
fn scales_that_are_powers_of_two_leave_the_bits_of_divided_inputs() {
    let tokens = Tokens::new(700, 3);
    let scales: Vec<f32> = (0..COLUMNS).map(|i| 2f32.powi((i * 5 % 11) as i32 - 5)).collect();
    let found = numbers(&tokens.observed(ALL).divided_by(&scales));
    assert_eq!(found, numbers(&tokens.divided_by(&scales).observed(ALL)));
}

#[test]
fn any_scales_give_the_sums_of_divided_inputs() {
    let tokens = Tokens::new(700, 4);
    let scales: Vec<f32> = (0..COLUMNS).map(|i| 0.3 + (i * 37 % 101) as f32 / 7.0).collect();
    let found = numbers(&tokens.observed(ALL).divided_by(&scales));
    let expected = numbers(&tokens.divided_by(&scales).observed(ALL));
    for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let largest = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        for (found, expected) in found.iter().zip(expected) {
            // Sums of 700 products of numbers that were rounded by the division.
            let error = (found - expected).abs();
            assert!(error <= 1e-6 * largest, "sum {number}: {found}, expected {expected}");
        }
    }
}

#[test]
fn maxima_and_fourth_powers_are_those_of_all_tokens() {
    let (first, second) = (Tokens::new(9, 5), Tokens::new(4, 6));
    let mut merged = first.observed(ALL);
    merged.merge(&second.observed(ALL));
    let seen = |column: usize| {
        let tokens = [&first, &second].into_iter().flat_map(|tokens| {
            tokens.inputs[0].values().chunks(COLUMNS).map(move |row| row[column].abs())
        });
        tokens.fold(0.0, f32::max)
    };
    let expected: Vec<f32> = (0..COLUMNS).map(seen).collect();
    assert_eq!(merged.maxima(), Some(&expected[..]));
    let fourth = |x: f32| f64::from(x).powi(4);
    for (column, &found) in merged.fourths().expect("asked for").iter().enumerate() {
        let tokens = [&first, &second].into_iter().flat_map(|tokens| {
            tokens.inputs[0].values().chunks(COLUMNS).map(move |row| row[column])
        });
        let expected: f64 = tokens.map(fourth).sum();
        assert!((found - expected).abs() <= 1e-12 * expected, "{found}, expected {expected}");
    }
}

#[test]
fn nothing_is_kept_that_is_not_asked_for() {
    let observed = Tokens::new(3, 7).observed(Needs::default());
    assert!(observed.gram().is_none() && observed.cross().is_none() && observed.maxima().is_none());
    assert!(observed.fourths().is_none() && observed.residual().is_none());
    let extent = Extent { columns: COLUMNS, residual: None };
    let with = Needs { maxima: true, fourths: true, ..Needs::default() };
    let more = Observation::bytes(extent, with) - Observation::bytes(extent, Needs::default());
    assert_eq!(more, (COLUMNS * (size_of::<f32>() + size_of::<f64>())) as u64);
    assert_eq!(Needs::default().union(with), with);
}
