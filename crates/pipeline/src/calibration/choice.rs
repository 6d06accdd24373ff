//! Codes for the matrices of a site: by one method, or by the best of several.

use crate::calibration::facts::{Calibrated, HeldOut, TriedMethod};
use crate::calibration::observe::Observed;
use crate::calibration::plan::Calibration;
use crate::method::Method;
use llmopt_calib::Observation;
use llmopt_quant::{
    Moments, OutputError, QuantError, Quantizer, Rounded, Search, Settings, Solver, SolverError,
    output_error, squared_outputs,
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

/// What rounding leaves in the outputs of a matrix, squared and summed up; none where no Gram matrix
/// tells.
#[derive(Clone, Copy, Default)]
struct SquaredErrors {
    fitted: Option<f64>,
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
        let mut chosen = match judge {
            Some(judge) if self.judges() => self.best(matrices, fitted, judge)?,
            _ => self.by(self.methods[0], matrices, fitted, judge)?,
        };
        for (matrix, chosen) in matrices.iter().zip(&mut chosen) {
            let errors = chosen.errors;
            chosen.facts.output_error = self.relative(errors.fitted, matrix, fitted);
            chosen.facts.held_out = judge.and_then(|judge| {
                let output_error = self.relative(errors.held_out, matrix, judge)?;
                Some(HeldOut { tokens: judge.tokens(), output_error })
            });
        }
        Ok(chosen)
    }

    /// Codes by the method whose outputs are closest on the windows held out.
    fn best(
        &self,
        matrices: &[Matrix],
        fitted: &Observation,
        judge: &Observation,
    ) -> Result<Vec<Chosen>, Failed> {
        let mut tried: Vec<TriedMethod> = Vec::new();
        let mut best: Option<Vec<Chosen>> = None;
        for &method in &self.methods {
            let chosen = self.by(method, matrices, fitted, Some(judge))?;
            let error = self.error(matrices, &chosen, judge);
            let held_out_error = error.map_or(0.0, OutputError::relative);
            if tried.iter().all(|before| held_out_error < before.held_out_error) {
                best = Some(chosen);
            }
            tried.push(TriedMethod { method: method.to_string(), held_out_error });
        }
        let mut best = best.expect("the first method is the best so far");
        best.iter_mut().for_each(|chosen| chosen.facts.candidates.clone_from(&tried));
        Ok(best)
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

    /// Codes by one method.
    fn by(
        &self,
        method: Method,
        matrices: &[Matrix],
        seen: &Observation,
        judge: Option<&Observation>,
    ) -> Result<Vec<Chosen>, Failed> {
        match (method.settings(), moments(seen)) {
            (Some(settings), Some(moments)) => {
                self.solved((method, settings), matrices, seen, &moments, judge)
            }
            _ => searched(&Search::weighted(seen.squares()), matrices, seen),
        }
    }

    fn solved(
        &self,
        (method, settings): (Method, Settings),
        matrices: &[Matrix],
        seen: &Observation,
        moments: &Moments<'_>,
        judge: Option<&Observation>,
    ) -> Result<Vec<Chosen>, Failed> {
        let gemm = self.engine.gemm().in_f32();
        let solver = Solver::prepare(gemm, moments, &settings.on(&matrices[0].scheme));
        let solver = solver.map_err(Failed::Moments)?;
        let quantized = |(number, matrix): (usize, &Matrix)| {
            let rounded = solver.rounded(&matrix.weights, &matrix.scheme, matrix.scale_dtype);
            let Rounded { codes, errors, squared_outputs: fitted } =
                rounded.map_err(|error| Failed::Matrix(number, error))?;
            let facts =
                Calibrated { damping: Some(solver.damping()), ..facts(&method.to_string(), seen) };
            let squared = |seen: &Observation| Some(squared_outputs(gemm, seen.gram()?, &errors));
            let errors = SquaredErrors { fitted: Some(fitted), held_out: judge.and_then(squared) };
            Ok(Chosen { codes, facts, errors })
        };
        matrices.iter().enumerate().map(quantized).collect()
    }

    /// The error of the outputs of all matrices, where there is a Gram matrix to tell.
    fn error(
        &self,
        matrices: &[Matrix],
        chosen: &[Chosen],
        seen: &Observation,
    ) -> Option<OutputError> {
        let moments = moments(seen)?;
        let mut sum = OutputError::default();
        for (matrix, chosen) in matrices.iter().zip(chosen) {
            let mut values = vec![0.0; matrix.weights.len()];
            chosen.codes.dequantize_into(&mut values);
            sum.add(output_error(self.engine.gemm(), &moments, &matrix.weights, &values));
        }
        Some(sum)
    }

    /// A squared error of a matrix's outputs relative to them, as a root. None where there is none, or
    /// where the outputs were zero.
    fn relative(&self, error: Option<f64>, matrix: &Matrix, seen: &Observation) -> Option<f64> {
        let outputs = squared_outputs(self.engine.gemm(), seen.gram()?, &matrix.weights);
        error.map(|error| (error / outputs).sqrt()).filter(|relative| relative.is_finite())
    }
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
