//! Gate and up projections of what stays, moved to first order, and the reader refitted to them.

use crate::pruning::choice::{Chosen, prepared};
use crate::pruning::gated::{GatedUnits, Projection};
use crate::pruning::group::PruneGroup;
use crate::pruning::observe::Observed;
use llmopt_forward::Matrix;
use llmopt_linalg::{Gemm, give_back_freed, kept_bytes};
use llmopt_model::Variant;
use llmopt_prune::{Gated, Ready, Refit, Regression, RegressionError, Tangent};
use llmopt_run::{Cancel, Error};
use llmopt_sweep::Store;
use llmopt_tensor::{decode, encode};
use llmopt_verify::MovedFacts;
use std::collections::BTreeMap;

/// The tokens of a group.
pub(super) struct Tokens<'a> {
    /// What gate and up projection read.
    pub(super) inputs: &'a Store,
    /// The hidden states before the phase in the pruned model.
    pub(super) own: &'a Store,
    /// Those behind it in the original.
    pub(super) original: &'a Store,
    pub(super) batches: usize,
}

/// What moves units: the model that they are of, and how.
pub(super) struct Mover<'a> {
    /// The model as it was found.
    pub(super) variant: &'a Variant,
    pub(super) gemm: Gemm,
    /// Passes over the tokens, at most.
    pub(super) refine: usize,
    pub(super) cancel: &'a Cancel,
}

impl Mover<'_> {
    /// Moves the units of `group` that stay, and refits their reader once more. What was chosen stays as
    /// it is if that does not lower the error.
    ///
    /// # Errors
    /// If the model cannot be read, or what it computes is not finite.
    pub(super) fn move_units(
        &self,
        group: &PruneGroup,
        projections: &GatedUnits,
        made: &mut Chosen,
        tokens: &Tokens<'_>,
    ) -> Result<(), Error> {
        let Some(reader) = made.weights.clone() else { return Ok(()) };
        let gemm = self.gemm;
        let fault = |error| fault(group, error);
        let mut tangent = Tangent::new(gemm, self.gated(projections, &made.facts.kept, reader)?);
        let fitted = made.bias.clone();
        self.each(projections, tokens, |inputs, mut targets| {
            subtract(&mut targets, fitted.as_deref());
            tangent.add(inputs, &targets);
        })?;
        let before = tangent.error();
        let steps = tangent.worthwhile(self.refine);
        let mut descent = tangent.descent(steps).map_err(fault)?;
        while descent.is_open() {
            for batch in 0..tokens.batches {
                go_on(self.cancel)?;
                descent.add(tokens.inputs.hidden(batch)?.values());
            }
            descent.step();
        }
        let mut gated = descent.into_gated();
        give_back_freed();
        self.round(&projections.gate, &mut gated.gate)?;
        self.round(&projections.up, &mut gated.up)?;
        let (observed, after) = self.seen_again((group, projections), &gated, made, tokens)?;
        if after < before {
            let narrowed = group.narrowed();
            let mut regression =
                prepared(&narrowed, gemm, &gated.down, &observed).map_err(fault)?;
            let all: Vec<usize> = (0..narrowed.columns).collect();
            let Refit { weights, bias } = regression.refit(&all).map_err(fault)?;
            (made.weights, made.bias) = (Some(weights), bias);
        } else {
            gated.gate = self.rows(&projections.gate, &made.facts.kept)?;
            gated.up = self.rows(&projections.up, &made.facts.kept)?;
        }
        made.moved = moved(projections, gated);
        let tensors = projections.tensors().map(str::to_owned).collect();
        let steps = if after < before { steps } else { 0 };
        made.facts.moved = Some(MovedFacts { tensors, steps, before, after });
        Ok(())
    }

    /// What the reader reads of units that were moved, and the squared error of its outputs, as a share of
    /// the energy of those asked for.
    fn seen_again(
        &self,
        (group, projections): (&PruneGroup, &GatedUnits),
        gated: &Gated,
        made: &Chosen,
        tokens: &Tokens<'_>,
    ) -> Result<(Observed, f64), Error> {
        let gemm = self.gemm;
        let ready = gated.ready(gemm);
        let narrowed = group.narrowed();
        let mut observed = Observed::new(&narrowed, true, true);
        let (mut error, mut energy) = (0.0, 0.0);
        self.each(projections, tokens, |inputs, targets| {
            let inputs = inputs.chunks(Tangent::PIECE * gated.inputs);
            for (inputs, targets) in inputs.zip(targets.chunks(Tangent::PIECE * group.rows)) {
                let units = ready.units(inputs);
                let given = ready.outputs(&units);
                let (of_residual, of_targets) = squares(targets, &given, made.bias.as_deref());
                (error, energy) = (error + of_residual, energy + of_targets);
                let count = units.len() / narrowed.columns;
                let units = Matrix::from_values(count, narrowed.columns, units);
                observed.add(gemm, &units.expect("whole rows"), Some((targets, &given)));
            }
        })?;
        Ok((observed, if energy > 0.0 { error / energy } else { 0.0 }))
    }

    /// Shows the inputs of every batch, and what the reader should give beside its bias.
    fn each(
        &self,
        projections: &GatedUnits,
        tokens: &Tokens<'_>,
        mut show: impl FnMut(&[f32], Vec<f32>),
    ) -> Result<(), Error> {
        let bias = projections.reader_bias.as_deref().map(|bias| self.variant.vector(bias));
        let bias = bias.transpose()?;
        for batch in 0..tokens.batches {
            go_on(self.cancel)?;
            let mut targets = tokens.original.hidden(batch)?.values().to_vec();
            let own = tokens.own.hidden(batch)?;
            targets.iter_mut().zip(own.values()).for_each(|(targets, own)| *targets -= own);
            drop(own);
            subtract(&mut targets, bias.as_deref());
            show(tokens.inputs.hidden(batch)?.values(), targets);
        }
        Ok(())
    }

    fn gated(
        &self,
        projections: &GatedUnits,
        kept: &[usize],
        down: Vec<f32>,
    ) -> Result<Gated, Error> {
        Ok(Gated {
            gate: self.rows(&projections.gate, kept)?,
            up: self.rows(&projections.up, kept)?,
            down,
            gate_bias: self.biases(&projections.gate, kept)?,
            up_bias: self.biases(&projections.up, kept)?,
            inputs: projections.gate.columns,
            slopes: projections.slopes(),
        })
    }

    /// Those of the units that stay.
    fn rows(&self, from: &Projection, kept: &[usize]) -> Result<Vec<f32>, Error> {
        let mut rows = Vec::with_capacity(kept.len() * from.columns);
        for run in kept.chunk_by(|a, b| a + 1 == *b) {
            let range = from.first + run[0]..from.first + run[run.len() - 1] + 1;
            rows.extend(self.variant.rows(&from.tensor, range, from.columns)?);
        }
        Ok(rows)
    }

    fn biases(&self, from: &Projection, kept: &[usize]) -> Result<Option<Vec<f32>>, Error> {
        let Some(bias) = &from.bias else { return Ok(None) };
        let all = self.variant.vector(bias)?;
        Ok(Some(kept.iter().map(|unit| all[from.first + unit]).collect()))
    }

    /// Rounds to what the artifact will hold.
    fn round(&self, to: &Projection, values: &mut [f32]) -> Result<(), Error> {
        let tensor = self.variant.model().get(&to.tensor).expect("a tensor of the model");
        let dtype = tensor.meta.dtype();
        let wrong = |error| Error::Refused(format!("tensor `{}`: {error}", to.tensor));
        let mut bytes = vec![0; dtype.bits() / 8 * values.len()];
        encode(dtype, values, &mut bytes).map_err(wrong)?;
        decode(dtype, &bytes, values).map_err(wrong)
    }
}

/// The most memory that moving takes on `tokens`, what is chosen included; `batch` are those of a batch.
pub(super) fn moving_bytes(
    gemm: Gemm,
    group: &PruneGroup,
    [tokens, batch]: [usize; 2],
    threads: usize,
) -> u64 {
    let narrowed = group.narrowed();
    let Some(projections) = &group.gated else { return 0 };
    let (units, inputs, outputs) = (narrowed.columns, projections.gate.columns, group.rows);
    let shown = (batch * (2 * outputs + inputs.max(outputs)) * size_of::<f32>()) as u64;
    let reader = (outputs * units * size_of::<f32>()) as u64;
    let sizes = [units, inputs, outputs];
    let layer = reader + 2 * (units * inputs * size_of::<f32>()) as u64;
    let observed = Observed::bytes(&narrowed, true);
    let running = Ready::running_bytes(gemm, Tangent::PIECE, sizes, threads)
        + (Tangent::PIECE * (units + outputs) * size_of::<f32>()) as u64;
    let adding = Observed::adding_bytes(gemm, &narrowed, Tangent::PIECE, threads);
    let ready = Ready::bytes(gemm, units, inputs, outputs, threads);
    let again = observed + ready + running + adding + shown;
    let prepared = Regression::prepare_bytes(gemm.in_f32(), outputs, units, threads);
    let refit =
        Regression::bytes(outputs, units) + Regression::refit_bytes(outputs, units, units, threads);
    let solving = observed + prepared.max(refit) + kept_bytes(threads) as u64;
    reader + (shown + Tangent::bytes(gemm, tokens, sizes, threads)).max(layer + again.max(solving))
}

/// The tensors that change, where both may be one.
fn moved(projections: &GatedUnits, gated: Gated) -> BTreeMap<String, Vec<f32>> {
    let Gated { gate, up, .. } = gated;
    if projections.gate.tensor != projections.up.tensor {
        return BTreeMap::from([
            (projections.gate.tensor.clone(), gate),
            (projections.up.tensor.clone(), up),
        ]);
    }
    let (mut first, second) =
        if projections.gate.first < projections.up.first { (gate, up) } else { (up, gate) };
    first.extend(second);
    BTreeMap::from([(projections.gate.tensor.clone(), first)])
}

fn fault(group: &PruneGroup, error: RegressionError) -> Error {
    Error::Input {
        what: format!("tensor `{}`: {error}", group.reader),
        hint: Some("`--refine 0` leaves gate and up projection as they are".to_owned()),
    }
}

/// # Errors
/// If the run is to stop.
fn go_on(cancel: &Cancel) -> Result<(), Error> {
    if cancel.is_cancelled() { Err(Error::Interrupted) } else { Ok(()) }
}

fn subtract(values: &mut [f32], bias: Option<&[f32]>) {
    let Some(bias) = bias.filter(|bias| !bias.is_empty()) else { return };
    for row in values.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(value, bias)| *value -= bias);
    }
}

/// The squares of the residual of outputs, and of those asked for, both beside `bias`.
fn squares(targets: &[f32], given: &[f32], bias: Option<&[f32]>) -> (f64, f64) {
    let bias = bias.into_iter().flatten().map(|&bias| f64::from(bias)).collect::<Vec<_>>();
    let biases = bias.iter().copied().cycle().chain(std::iter::repeat(0.0));
    let (mut error, mut energy) = (0.0, 0.0);
    for ((&targets, &given), bias) in targets.iter().zip(given).zip(biases) {
        let targets = f64::from(targets) - bias;
        error += (targets - f64::from(given)).powi(2);
        energy += targets.powi(2);
    }
    (error, energy)
}
