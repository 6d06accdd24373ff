//! The artifact against the model that it was made from: nothing lost, nothing added, nothing else.

use crate::examine::Request;
use crate::record::Record;
use crate::smoothed;
use llmopt_arch::axes::{Axis, Kept};
use llmopt_arch::{Model, Role};
use llmopt_checkpoint::{HeaderEntry, Shard, Source, are_equal};
use llmopt_model::{Artifact, Findings, Matrices, Matrix, Rows, Smoothing, bound, part_of, sliced};
use llmopt_run::{Error, pool};
use llmopt_scheme::{Numeric, Scheme, SquaredError};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Compares with the model at `path`.
pub(crate) fn check(
    artifact: &Artifact,
    matrices: &Matrices<'_>,
    record: Option<&Record>,
    path: &Path,
    request: &Request<'_>,
    findings: &mut Findings,
) -> Result<(), Error> {
    let source = Source::open(path)?;
    let model = bound(&source)?;
    let Some(smoothing) = smoothed::recorded(&source, artifact, record, findings)? else {
        return Ok(());
    };
    let comparison =
        Comparison { artifact, matrices, record, source: &source, model: &model, smoothing };
    request.events.stage_started("compare", source.shards().iter().map(|shard| shard.bytes).sum());
    let faults = Mutex::new(BTreeMap::new());
    let tensors = source
        .shards()
        .iter()
        .flat_map(|shard| shard.header.tensors().iter().map(move |entry| (shard, entry)));
    pool::for_each(request.threads, tensors.enumerate(), request.cancel, |(number, tensor), _| {
        if let Some(fault) = comparison.fault(tensor, request)? {
            let mut faults = faults.lock().unwrap_or_else(PoisonError::into_inner);
            faults.insert(number, (tensor.1.name.as_str(), fault));
        }
        request.events.advanced(tensor.1.meta.bytes(), &tensor.1.name);
        Ok(())
    })?;
    request.events.stage_finished("compare");
    for (tensor, (code, message)) in
        faults.into_inner().unwrap_or_else(PoisonError::into_inner).values()
    {
        findings.fault(code, tensor, message);
    }
    comparison.check_added(findings);
    findings.checked("tensors held against the model", source.tensors().len());
    Ok(())
}

struct Comparison<'a> {
    artifact: &'a Artifact,
    matrices: &'a Matrices<'a>,
    record: Option<&'a Record>,
    source: &'a Source,
    model: &'a Model,
    /// What was scaled before it was quantized.
    smoothing: Smoothing,
}

type Tensor<'a> = (&'a Shard, &'a HeaderEntry);
type Found = (&'static str, String);

impl<'a> Comparison<'a> {
    /// What is wrong with what became of a tensor of the model.
    fn fault(&self, tensor: Tensor<'a>, request: &Request<'_>) -> Result<Option<Found>, Error> {
        let Some(name) = self.now_called(&tensor.1.name) else {
            return Ok(self.is_of_no_layer(&tensor.1.name).then(|| {
                ("lost", "the report says that it was removed, but it is of no layer".to_owned())
            }));
        };
        let module = part_of(name).map(|(module, _)| module);
        if let Some(matrix) = module.and_then(|module| self.matrices.get(module)) {
            return self.quantized(tensor, matrix, request);
        }
        match self.artifact.entry(name) {
            Some(found) if self.is_rewritten(tensor, found) => {
                self.dequantized(tensor, found, request)
            }
            Some(found) if self.record.is_some_and(|record| record.is_smoothed(name)) => {
                self.smoothed(tensor, found, request)
            }
            Some(found) if self.record.is_some_and(|record| record.is_pruned(name)) => {
                self.pruned(tensor, found, request)
            }
            Some(found) => {
                let differs = || {
                    let message = format!(
                        "its bytes differ from those in the model, although both are {}",
                        found.1.meta
                    );
                    ("changed", message)
                };
                Ok((!are_equal(tensor, found)?).then(|| match tensor.1.meta == found.1.meta {
                    true => differs(),
                    false => (
                        "changed",
                        format!("it is {}, but {} in the model", found.1.meta, tensor.1.meta),
                    ),
                }))
            }
            None if self.may_be_absent(name, module) => Ok(None),
            None => Ok(Some(("lost", "it is in the model, but not in the artifact".to_owned()))),
        }
    }

    fn is_of_no_layer(&self, name: &str) -> bool {
        self.model.get(name).is_none_or(|tensor| tensor.layer.is_none())
    }

    /// What is wrong with what pruning left of a tensor: where it was only cut, its bytes must be those of
    /// the units that the report says to stay.
    fn pruned(
        &self,
        tensor: Tensor<'a>,
        found: Tensor<'a>,
        request: &Request<'_>,
    ) -> Result<Option<Found>, Error> {
        let name = tensor.1.name.as_str();
        if let Some(fault) = cut_wrongly(tensor, found) {
            return Ok(Some(fault));
        }
        let (Some(record), Some(bound)) = (self.record, self.model.get(name)) else {
            return Ok(None);
        };
        if !record.is_sliced(&found.1.name) {
            let message =
                "it is recorded as refitted, but reads nothing that was pruned".to_owned();
            return Ok((!record.may_be_refitted(name)).then_some(("changed", message)));
        }
        let units = |axis, expert| bound.layer.and_then(|n| record.units_of(axis, n, expert));
        let (channels, groups) = (units(Axis::Ffn, bound.expert), units(Axis::Heads, None));
        let Some(slice) = self.model.slices(name, Kept { channels, groups }) else {
            let message = "it is recorded as sliced, but no unit of it was pruned".to_owned();
            return Ok(Some(("changed", message)));
        };
        if request.quick {
            return Ok(None);
        }
        let mut bytes = vec![0; found.1.meta.bytes() as usize];
        found.0.read_tensor(found.1, 0..found.1.meta.bytes(), &mut bytes)?;
        let message = "its bytes are not those of the units that stay".to_owned();
        Ok((sliced(self.source, name, &slice)? != bytes).then_some(("changed", message)))
    }

    /// What is wrong with a dense tensor that was scaled: its bytes must be those that the report's scales
    /// make of the model's.
    fn smoothed(
        &self,
        tensor: Tensor<'a>,
        found: Tensor<'a>,
        request: &Request<'_>,
    ) -> Result<Option<Found>, Error> {
        let (name, before) = (tensor.1.name.as_str(), &tensor.1.meta);
        if *before != found.1.meta {
            let message = format!("it is {}, but {before} in the model", found.1.meta);
            return Ok(Some(("changed", message)));
        }
        let (true, Some(&rows)) = (self.smoothing.changes(name), before.shape().first()) else {
            let message =
                "it is recorded as smoothed, but no scales of the report are its".to_owned();
            return Ok(Some(("changed", message)));
        };
        let columns = before.shape().get(1).copied().unwrap_or(1);
        if request.quick || columns == 0 {
            return Ok(None);
        }
        let row_bytes = (columns * before.dtype().bits() / 8) as u64;
        let step = (BAND_ELEMENTS / columns).max(1);
        for first in (0..rows).step_by(step) {
            let band = first..(first + step).min(rows);
            let range = band.start as u64 * row_bytes..band.end as u64 * row_bytes;
            let weights = self.weights(tensor, columns, rows, band)?;
            if !smoothed::holds(found, range, &weights)? {
                let message = "its bytes are not what the report's scales make of the model's";
                return Ok(Some(("changed", message.to_owned())));
            }
        }
        Ok(None)
    }

    /// What a tensor of the model is called in the artifact; none, if the report says that it is gone.
    fn now_called<'n>(&'n self, name: &'n str) -> Option<&'n str> {
        match self.record {
            Some(record) => record.now_called(name),
            None => Some(name),
        }
    }

    /// Whether a dense tensor holds the values of the model's in another form: dequantized, or rounded
    /// on the way through a scheme.
    fn is_rewritten(&self, (_, before): Tensor<'_>, (_, after): Tensor<'_>) -> bool {
        let is_plain = after.meta.dtype().is_plain_float();
        let is_scaled = self.model.block_scale_of(&before.name).is_some();
        let is_recorded = self.record.is_some_and(|record| record.is_dequantized(&before.name));
        is_plain && (is_scaled || is_recorded)
    }

    /// Block scales go into their weights, buffers are computed by every loader, and what is wrong with
    /// a faulty module was said already.
    fn may_be_absent(&self, name: &str, module: Option<&str>) -> bool {
        let role = self.model.get(name).map(|tensor| tensor.role);
        let is_stored = |module: &str| self.artifact.modules.contains_key(module);
        matches!(role, Some(Role::BlockScale | Role::Buffer))
            || module.is_some_and(|module| is_stored(module) && self.matrices.get(module).is_none())
    }

    fn quantized(
        &self,
        tensor: Tensor<'a>,
        matrix: &Matrix<'_>,
        request: &Request<'_>,
    ) -> Result<Option<Found>, Error> {
        let entry = tensor.1;
        if !entry.name.ends_with(".weight") {
            return Ok(None);
        }
        if entry.meta.shape() != [matrix.rows, matrix.columns] {
            let found = [matrix.rows, matrix.columns];
            return Ok(Some((
                "shape",
                format!("it is {found:?}, but {} in the model", entry.meta),
            )));
        }
        if request.quick {
            return Ok(None);
        }
        let mut error = SquaredError::default();
        for rows in matrix.bands() {
            let weights = self.weights(tensor, matrix.columns, matrix.rows, rows.clone())?;
            // Bytes that do not decode are named elsewhere.
            let (Ok(band), _) = matrix.read(&self.artifact.source, rows)? else { return Ok(None) };
            error.add(band.squared_error(&weights));
        }
        Ok(match self.stated(&entry.name) {
            // Sums are grouped otherwise; each term is what it was.
            Some(stated) => another_error(error, stated, 1e-6 * stated + 1e-9),
            None => too_far(error, bound_of(&matrix.scheme())),
        })
    }

    fn dequantized(
        &self,
        tensor: Tensor<'a>,
        found: Tensor<'a>,
        request: &Request<'_>,
    ) -> Result<Option<Found>, Error> {
        let &[rows, columns] = tensor.1.meta.shape() else { return Ok(None) };
        if found.1.meta.shape() != [rows, columns] {
            let message = format!("it is {}, but {} in the model", found.1.meta, tensor.1.meta);
            return Ok(Some(("shape", message)));
        }
        if request.quick || columns == 0 {
            return Ok(None);
        }
        let mut error = SquaredError::default();
        let step = (BAND_ELEMENTS / columns).max(1);
        for first in (0..rows).step_by(step) {
            let band = first..(first + step).min(rows);
            let before = self.weights(tensor, columns, rows, band.clone())?;
            let after = weights(&self.artifact.source, found, None, columns, rows, band)?;
            let pairs = || before.iter().zip(&after).map(|(&a, &b)| (f64::from(a), f64::from(b)));
            error.add(SquaredError {
                signal: pairs().map(|(a, _)| a * a).sum(),
                noise: pairs().map(|(a, b)| (a - b) * (a - b)).sum(),
            });
        }
        Ok(match self.stated(&tensor.1.name) {
            // What is stored is rounded once more, to a type with eight bits of significand or more.
            Some(stated) => another_error(error, stated, 1.0 / 256.0),
            None => too_far(error, COARSEST),
        })
    }

    /// The error that the artifact's own report states of a tensor. How far a method may move a matrix
    /// is its own affair: a calibrated one minds outputs, and some inputs never occur.
    fn stated(&self, tensor: &str) -> Option<f64> {
        self.record?.relative_error(tensor)
    }

    /// Rows of the model's matrix, scaled if it was smoothed.
    fn weights(
        &self,
        tensor: Tensor<'a>,
        columns: usize,
        rows_in_all: usize,
        rows: Range<usize>,
    ) -> Result<Vec<f32>, Error> {
        let block_scale = self.model.block_scale_of(&tensor.1.name);
        let band = rows.clone();
        let mut weights = weights(self.source, tensor, block_scale, columns, rows_in_all, rows)?;
        self.smoothing.apply(&tensor.1.name, band, columns, &mut weights);
        Ok(weights)
    }

    /// Tensors of the artifact that nothing in the model became.
    fn check_added(&self, findings: &mut Findings) {
        let modules: BTreeSet<&str> =
            self.source.tensors().filter_map(|(name, _)| Some(part_of(name)?.0)).collect();
        for (name, _) in self.artifact.source.tensors() {
            let is_part = part_of(name).is_some_and(|(module, _)| modules.contains(module));
            let is_recorded = self.record.is_some_and(|record| record.is_pruned(name));
            if !is_part && !is_recorded && self.source.meta(name).is_none() {
                findings.fault("added", name, "it is in the artifact, but not in the model");
            }
        }
    }
}

/// What is wrong with the type or shape of what pruning left of a tensor, if anything is.
fn cut_wrongly((_, before): Tensor<'_>, (_, after): Tensor<'_>) -> Option<Found> {
    let (old, new) = (before.meta.shape(), after.meta.shape());
    let is_part = old.len() == new.len() && old.iter().zip(new).all(|(old, new)| new <= old);
    let is_sound = is_part && before.meta.dtype() == after.meta.dtype();
    (!is_sound).then(|| {
        let message = format!("it is {}, which is no part of {}", after.meta, before.meta);
        ("shape", message)
    })
}

/// Rows of a dense matrix as f32.
fn weights(
    source: &Source,
    (shard, entry): Tensor<'_>,
    block_scale: Option<&llmopt_arch::BlockScale>,
    columns: usize,
    rows_in_all: usize,
    rows: Range<usize>,
) -> Result<Vec<f32>, Error> {
    let row_bytes = entry.meta.bytes() / (rows_in_all as u64).max(1);
    let range = rows.start as u64 * row_bytes..rows.end as u64 * row_bytes;
    let mut bytes = vec![0; (range.end - range.start) as usize];
    shard.read_tensor(entry, range, &mut bytes)?;
    Rows { source, shard, entry, block_scale, columns, rows }.weights(&bytes)
}

fn too_far(error: SquaredError, bound: f64) -> Option<Found> {
    let relative = error.relative();
    (relative.is_nan() || relative > bound).then(|| {
        let message = format!(
            "its relative error is {relative:.3}, expected at most {bound}: codes or scales are \
             damaged or in another order, or a calibrated method went that far, as a report would state"
        );
        ("error", message)
    })
}

fn another_error(error: SquaredError, stated: f64, tolerance: f64) -> Option<Found> {
    let relative = error.relative();
    (relative.is_nan() || (relative - stated).abs() > tolerance).then(|| {
        let message = format!(
            "its relative error is {relative:.6}, but the report states {stated:.6}: codes or scales \
             are damaged, or it was made from another model"
        );
        ("error", message)
    })
}

/// What a scheme may lose, where no report states what it lost. Values in the wrong order lose 1.4 on average; whatever order is right, on
/// weights as they occur, loses a fraction of this.
fn bound_of(scheme: &Scheme) -> f64 {
    match scheme.weights {
        Numeric::E4m3 => 0.1,
        Numeric::Int { bits: 7.. } => 0.05,
        Numeric::Int { bits: 4.. } => 0.5,
        Numeric::Int { .. } => COARSEST,
    }
}

const COARSEST: f64 = 1.0;
const BAND_ELEMENTS: usize = 1 << 18;
