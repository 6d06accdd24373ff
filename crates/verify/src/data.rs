//! Every byte of the quantized matrices, decoded band by band, and of all other floats.

use crate::examine::Request;
use crate::record::Record;
use llmopt_arch::Model;
use llmopt_codec::DecodeError;
use llmopt_model::nonfinite::{first, matters};
use llmopt_model::{Artifact, Findings, Matrices, Matrix, part_of};
use llmopt_run::{Error, pool};
use llmopt_scheme::Tiles;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Decodes every matrix. Of each, the first fault counts.
pub(crate) fn check_matrices(
    artifact: &Artifact,
    matrices: &[Matrix<'_>],
    request: &Request<'_>,
    findings: &mut Findings,
) -> Result<(), Error> {
    request.events.stage_started("decode", matrices.iter().map(Matrix::bytes).sum());
    let faults = Mutex::new(BTreeMap::new());
    let bands = matrices.iter().enumerate();
    let bands = bands.flat_map(|(number, matrix)| matrix.bands().map(move |rows| (number, rows)));
    pool::for_each(request.threads, bands, request.cancel, |(number, rows), _| {
        let matrix = &matrices[number];
        let first_row = rows.start;
        let (decoded, bytes) = matrix.read(&artifact.source, rows)?;
        if let Err(error) = decoded {
            let mut faults = faults.lock().unwrap_or_else(PoisonError::into_inner);
            faults.insert((number, first_row), error);
        }
        request.events.advanced(bytes, matrix.module);
        Ok(())
    })?;
    request.events.stage_finished("decode");
    let faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut last = None;
    for ((number, first_row), error) in faults {
        if last.replace(number) != Some(number) {
            let (code, subject, message) = render(&matrices[number], first_row, &error);
            findings.fault(code, &subject, message);
        }
    }
    findings.checked("matrices decoded", matrices.len());
    Ok(())
}

/// Looks for NaN and infinity in everything that is stored of floats, but the codes and scales that were
/// decoded already.
pub(crate) fn check_dense(
    artifact: &Artifact,
    model: Option<&Model>,
    matrices: &Matrices<'_>,
    record: Option<&Record>,
    request: &Request<'_>,
    findings: &mut Findings,
) -> Result<(), Error> {
    let is_decoded = |name: &str| {
        let (module, suffix) = part_of(name)?;
        Some(matrices.get(module)?.has_part(suffix))
    };
    let is_looked_at = |name: &str| {
        model.is_none_or(|model| matters(model, name))
            && is_decoded(name) != Some(true)
            && !record.is_some_and(|record| record.allows_nonfinite(name))
    };
    let shards = artifact.source.shards().iter();
    let tensors =
        shards.flat_map(|shard| shard.header.tensors().iter().map(move |entry| (shard, entry)));
    let tensors: Vec<_> = tensors.filter(|(_, entry)| is_looked_at(&entry.name)).collect();
    request.events.stage_started("look", tensors.iter().map(|(_, t)| t.meta.bytes()).sum());
    let found = Mutex::new(BTreeMap::new());
    let numbered = tensors.iter().copied().enumerate();
    pool::for_each(request.threads, numbered, request.cancel, |(number, tensor), _| {
        if let Some(first) = first(tensor)? {
            found.lock().unwrap_or_else(PoisonError::into_inner).insert(number, first);
        }
        request.events.advanced(tensor.1.meta.bytes(), &tensor.1.name);
        Ok(())
    })?;
    request.events.stage_finished("look");
    for found in found.into_inner().unwrap_or_else(PoisonError::into_inner).values() {
        let message = format!(
            "it holds {found}, expected a finite number: nothing computed with it is finite, either"
        );
        findings.fault("nonfinite", &found.tensor, message);
    }
    findings.checked("dense tensors read", tensors.len());
    Ok(())
}

/// Where in the whole matrix a band's fault lies, and what it does.
fn render(
    matrix: &Matrix<'_>,
    first_row: usize,
    error: &DecodeError,
) -> (&'static str, String, String) {
    let subject = |suffix: &str| format!("{}.{suffix}", matrix.module);
    let tiles = Tiles::new(matrix.scheme().granularity, matrix.rows, matrix.columns);
    let first_tile = tiles.map_or(0, |tiles| first_row / tiles.tile_rows());
    match error {
        DecodeError::Scale { down, across, value } => {
            let down = first_tile + down;
            let message = format!(
                "it is {value} at [{down}, {across}], expected a finite number: every output of \
                 the layer becomes NaN"
            );
            ("scale", subject("weight_scale"), message)
        }
        DecodeError::ZeroScale { down, across } => {
            let down = first_tile + down;
            let message = format!(
                "it is zero at [{down}, {across}], but the codes there are not: the weights are lost"
            );
            ("scale", subject("weight_scale"), message)
        }
        DecodeError::NanCode { row, column } => {
            let row = first_row + row;
            let message = format!("it is NaN at [{row}, {column}], expected a number");
            ("code", subject("weight"), message)
        }
        other => ("decode", matrix.module.to_owned(), other.to_string()),
    }
}
