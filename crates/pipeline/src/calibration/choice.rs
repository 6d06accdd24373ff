//! Codes for the matrices of a site: by one method, or by the best of several.

use crate::calibration::facts::{Calibrated, HeldOut, TriedMethod};
use crate::calibration::observe::Observed;
use crate::calibration::plan::Calibration;
use crate::method::Method;
use llmopt_calib::Observation;
use llmopt_quant::{
    Correction, Moments, OutputError, Outputs, QuantError, Quantizer, Rounded, Rounding, Search,
    Settings, Solver, SolverError, squared_outputs,
};
use llmopt_scheme::{QuantizedMatrix, Scheme};
use llmopt_tensor::Dtype;
use ndarray::ArrayView2;

/// A matrix to be quantized.
pub(super) struct Matrix {
    pub(super) tensor: String,
    /// `[rows, columns]`.
    pub(super) weights: Vec<f32>,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) scheme: Scheme,
    pub(super) scale_dtype: Dtype,
}

/// What a matrix gets.
pub(super) struct Chosen {
    pub(super) codes: QuantizedMatrix,
    pub(super) facts: Calibrated,
    errors: SquaredErrors,
}

/// What rounding leaves in the outputs of a matrix, squared and summed up.
#[derive(Clone, Copy, Default)]
struct SquaredErrors {
    /// None where no Gram matrix tells.
    fitted: Option<f64>,
    /// None where nothing is held out, and where it follows from codes and weights: where codes were to
    /// come close to the weights, and to nothing else.
    held_out: Option<f64>,
}

/// Why there are no codes.
pub(super) enum Failed {
    /// The matrix of this number cannot be quantized.
    Matrix(usize, QuantError),
    /// The moments cannot be used.
    Moments(SolverError),
}

impl Calibration {
    /// Codes for the matrices that share an input, and what their outputs lost.
    pub(super) fn chosen(
        &self,
        matrices: &[Matrix],
        observed: Observed,
    ) -> Result<Vec<Chosen>, Failed> {
        let Observed { fitted, held_out } = &observed;
        let judge = held_out.as_ref().filter(|held_out| held_out.tokens() > 0);
        let methods = if judge.is_some() { &self.methods[..] } else { &self.methods[..1] };
        let candidates = self.candidates(methods, matrices, fitted, judge)?;
        let mut chosen = match judge.and_then(|judge| Some((judge.tokens(), moments(judge)?))) {
            Some((tokens, judge)) => self.best(matrices, candidates, tokens, &judge),
            None => candidates.into_iter().map(first).collect(),
        };
        for (matrix, chosen) in matrices.iter().zip(&mut chosen) {
            chosen.facts.output_error = self.output_error(chosen.errors.fitted, matrix, fitted);
        }
        Ok(chosen)
    }

    /// Of the candidates of each matrix those by the method whose outputs are closest on the windows held
    /// out, over all matrices.
    fn best(
        &self,
        matrices: &[Matrix],
        mut candidates: Vec<Vec<Chosen>>,
        tokens: u64,
        judge: &Moments<'_>,
    ) -> Vec<Chosen> {
        let mut sums = vec![OutputError::default(); candidates.first().map_or(0, Vec::len)];
        for (matrix, candidates) in matrices.iter().zip(&mut candidates) {
            let outputs = Outputs::new(self.engine.gemm(), judge, &matrix.weights);
            let mut values = vec![0.0; matrix.weights.len()];
            for (chosen, sum) in candidates.iter_mut().zip(&mut sums) {
                chosen.codes.dequantize_into(&mut values);
                let error = outputs.error(&values);
                let squared = chosen.errors.held_out.unwrap_or(error.squared);
                let output_error = relative(squared, error.signal);
                chosen.facts.held_out =
                    output_error.map(|output_error| HeldOut { tokens, output_error });
                sum.add(error);
            }
        }
        let errors: Vec<f64> = sums.into_iter().map(OutputError::relative).collect();
        let best = least(&errors);
        let tried = self.tried(&errors);
        let mut chosen: Vec<Chosen> =
            candidates.into_iter().map(|mut of| of.swap_remove(best)).collect();
        chosen.iter_mut().for_each(|chosen| chosen.facts.candidates.clone_from(&tried));
        chosen
    }

    /// The methods, if there are several, with how far outputs are from the original's.
    fn tried(&self, errors: &[f64]) -> Vec<TriedMethod> {
        if errors.len() < 2 {
            return Vec::new();
        }
        let tried = |(method, &held_out_error): (&Method, &f64)| TriedMethod {
            method: method.to_string(),
            held_out_error,
        };
        self.methods.iter().zip(errors).map(tried).collect()
    }

    /// Codes that the weights alone decide, because their inputs showed too little.
    pub(super) fn without_moments(
        &self,
        matrices: &[Matrix],
        seen: &Observation,
        why: &str,
    ) -> Result<Vec<Chosen>, Failed> {
        let mut chosen = searched(&Search, matrices, seen)?;
        chosen.iter_mut().for_each(|chosen| chosen.facts.fallback = Some(why.to_owned()));
        Ok(chosen)
    }

    /// Codes of each matrix by each method.
    fn candidates(
        &self,
        methods: &[Method],
        matrices: &[Matrix],
        seen: &Observation,
        judge: Option<&Observation>,
    ) -> Result<Vec<Vec<Chosen>>, Failed> {
        let solving = methods.iter().map(|&method| Solving::new(method, seen));
        match (solving.collect::<Option<Vec<_>>>(), moments(seen)) {
            (Some(solving), Some(moments)) => {
                self.solved(&solving, matrices, (seen, &moments), judge)
            }
            _ => {
                let chosen = searched(&Search::weighted(seen.squares()), matrices, seen)?;
                Ok(chosen.into_iter().map(|chosen| vec![chosen]).collect())
            }
        }
    }

    /// Codes of each matrix by each of these methods, which share one solver for all matrices whose schemes ask
    /// for the same order of columns.
    fn solved(
        &self,
        methods: &[Solving],
        matrices: &[Matrix],
        (seen, moments): (&Observation, &Moments<'_>),
        judge: Option<&Observation>,
    ) -> Result<Vec<Vec<Chosen>>, Failed> {
        let gemm = self.engine.gemm().in_f32();
        let shares = |other: &Solving| methods[0].settings.shares_solver(&other.settings);
        assert!(methods.iter().all(shares), "methods that are tried together share a solver");
        let chosen = |damping: f64, solving: &Solving, rounded: Rounded| {
            let Rounded { codes, errors, squared_outputs: fitted } = rounded;
            let facts =
                Calibrated { damping: Some(damping), ..facts(&solving.method.to_string(), seen) };
            let judge = judge.filter(|_| solving.settings.correction != Correction::None);
            let squared = |judge: &Observation| Some(squared_outputs(gemm, judge.gram()?, &errors));
            let errors = SquaredErrors { fitted: Some(fitted), held_out: judge.and_then(squared) };
            Chosen { codes, facts, errors }
        };
        let of_scheme = |matrix: &Matrix| methods[0].settings.on(&matrix.scheme);
        let mut found: Vec<Vec<Chosen>> = matrices.iter().map(|_| Vec::new()).collect();
        while let Some(open) = found.iter().position(Vec::is_empty) {
            let settings = of_scheme(&matrices[open]);
            let solver = Solver::prepare(gemm, moments, &settings).map_err(Failed::Moments)?;
            for (number, matrix) in matrices.iter().enumerate() {
                if of_scheme(matrix) == settings {
                    let chosen =
                        |solving: &Solving, rounded| chosen(solver.damping(), solving, rounded);
                    found[number] = rounded_by_each(&solver, methods, matrix, chosen)
                        .map_err(|error| Failed::Matrix(number, error))?;
                }
            }
        }
        Ok(found)
    }

    /// A squared error of a matrix's outputs relative to them, as a root; none where no Gram matrix tells.
    fn output_error(
        &self,
        squared: Option<f64>,
        matrix: &Matrix,
        seen: &Observation,
    ) -> Option<f64> {
        let (squared, gram) = (squared?, seen.gram()?);
        relative(squared, squared_outputs(self.engine.gemm(), gram, &matrix.weights))
    }
}

/// A method with a solver.
struct Solving {
    method: Method,
    settings: Settings,
}

impl Solving {
    /// None without a solver. Where the original's inputs were not observed, there is nothing to make up for.
    fn new(method: Method, seen: &Observation) -> Option<Self> {
        let mut settings = method.settings()?;
        if seen.cross().is_none() {
            settings.correction = Correction::None;
        }
        Some(Self { method, settings })
    }
}

/// Codes of a matrix by each of these methods in turn. Where one differs from the one before in descent
/// alone, both go on from the same rounding.
fn rounded_by_each(
    solver: &Solver<'_>,
    methods: &[Solving],
    matrix: &Matrix,
    chosen: impl Fn(&Solving, Rounded) -> Chosen,
) -> Result<Vec<Chosen>, QuantError> {
    let Matrix { weights, scheme, scale_dtype, .. } = matrix;
    let mut kept: Option<Rounding<'_>> = None;
    let mut candidates = Vec::with_capacity(methods.len());
    for (number, solving) in methods.iter().enumerate() {
        let Settings { correction, descent, .. } = solving.settings;
        let rounding = match kept.take() {
            Some(rounding) => rounding,
            None => solver.rounding(correction, weights, scheme, *scale_dtype)?,
        };
        let next = methods.get(number + 1);
        if next.is_some_and(|next| next.settings.correction == correction) {
            kept = Some(rounding.clone());
        }
        candidates.push(chosen(solving, rounding.descended(descent).finished()));
    }
    Ok(candidates)
}

/// The first of a matrix's candidates.
fn first(mut candidates: Vec<Chosen>) -> Chosen {
    candidates.swap_remove(0)
}

/// The number of the least; of equals the first.
fn least(errors: &[f64]) -> usize {
    let mut best = 0;
    for (number, error) in errors.iter().enumerate() {
        if *error < errors[best] {
            best = number;
        }
    }
    best
}

/// A squared error relative to a squared signal, as a root; none where the signal is zero.
fn relative(squared: f64, signal: f64) -> Option<f64> {
    Some((squared / signal).sqrt()).filter(|relative| relative.is_finite())
}

/// Codes by a quantizer that looks at one weight at a time.
fn searched(
    quantizer: &dyn Quantizer,
    matrices: &[Matrix],
    seen: &Observation,
) -> Result<Vec<Chosen>, Failed> {
    let quantized = |(number, matrix): (usize, &Matrix)| {
        let view = ArrayView2::from_shape((matrix.rows, matrix.columns), &matrix.weights);
        let view = view.expect("a matrix is as long as its rows");
        let codes = quantizer.quantize(view, &matrix.scheme, matrix.scale_dtype);
        let codes = codes.map_err(|error| Failed::Matrix(number, error))?;
        let (facts, errors) = (facts(quantizer.name(), seen), SquaredErrors::default());
        Ok(Chosen { codes, facts, errors })
    };
    matrices.iter().enumerate().map(quantized).collect()
}

fn facts(method: &str, seen: &Observation) -> Calibrated {
    Calibrated {
        method: method.to_owned(),
        tokens: seen.tokens(),
        damping: None,
        dead_columns: seen.squares().iter().filter(|&&sum| sum == 0.0).count(),
        output_error: None,
        held_out: None,
        fallback: None,
        candidates: Vec::new(),
    }
}

/// What solvers go by, where a Gram matrix was kept.
fn moments(seen: &Observation) -> Option<Moments<'_>> {
    Some(Moments {
        gram: seen.gram()?,
        cross: seen.cross(),
        residual: seen.residual().map(|residual| residual.values()),
        tokens: seen.tokens(),
    })
}
