//! Smoothed tensors, made again from the model and the scales that the report tells.

use crate::record::Record;
use llmopt_checkpoint::{HeaderEntry, Shard, Source};
use llmopt_model::{Artifact, Findings, Smoothing};
use llmopt_run::Error;
use llmopt_tensor::encode;

/// What smoothing made of the tensors of `source`, as the report tells; none where it tells of scales that
/// are not of this model, which is a fault of its own.
///
/// # Errors
/// If the model cannot be read.
pub(crate) fn recorded(
    source: &Source,
    artifact: &Artifact,
    record: Option<&Record>,
    findings: &mut Findings,
) -> Result<Option<Smoothing>, Error> {
    let Some((record, pairs)) = record.and_then(|record| Some((record, record.smoothed()?))) else {
        return Ok(Some(Smoothing::default()));
    };
    let stored_as = |tensor: &str| {
        let found = artifact.entry(tensor).filter(|_| record.is_smoothed(tensor));
        found.map(|(_, entry)| entry.meta.dtype())
    };
    match Smoothing::new(source, pairs.to_vec(), stored_as) {
        Ok(smoothing) => Ok(Some(smoothing)),
        Err(error @ Error::Input { .. }) => {
            findings.fault("record", "smoothing", error.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether `after` holds what the scales make of some rows of `before`.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn holds(
    (shard, after): (&Shard, &HeaderEntry),
    range: std::ops::Range<u64>,
    weights: &[f32],
) -> Result<bool, Error> {
    let mut expected = vec![0; (range.end - range.start) as usize];
    let mut found = expected.clone();
    if encode(after.meta.dtype(), weights, &mut expected).is_err() {
        return Ok(false);
    }
    shard.read_tensor(after, range, &mut found)?;
    Ok(found == expected)
}
