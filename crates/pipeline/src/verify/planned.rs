//! What a run wrote, against its plan.

use super::artifact::{Artifact, part_of};
use super::findings::Findings;
use super::modules::Matrices;
use crate::Plan;
use crate::place::{Action, Place};
use llmopt_checkpoint::HeaderEntry;

/// Every tensor of the source became what the plan says, and nothing else was written: the artifact is
/// then the model that the plan bound.
pub(super) fn check(
    plan: &Plan,
    artifact: &Artifact,
    matrices: &Matrices<'_>,
    findings: &mut Findings,
) {
    let mut planned = 0;
    for (entry, place) in plan.places() {
        planned += place.begins.len();
        if !is_as_planned(entry, place, artifact, matrices) {
            let message =
                format!("the plan says `{}`, but something else was written", place.action);
            findings.fault("conservation", &entry.name, message);
        }
    }
    let written = artifact.source.tensors().len();
    if written != planned {
        let message = format!("{written} tensors were written, but {planned} were planned");
        findings.fault("conservation", &plan.output().to_string_lossy(), message);
    }
    for (shard, planned) in artifact.source.shards().iter().zip(&plan.shards) {
        if shard.bytes != planned.bytes {
            let message =
                format!("it has {} bytes, but {} were planned", shard.bytes, planned.bytes);
            findings.fault("size", &shard.name, message);
        }
    }
}

fn is_as_planned(
    entry: &HeaderEntry,
    place: &Place,
    artifact: &Artifact,
    matrices: &Matrices<'_>,
) -> bool {
    let stored = artifact.source.meta(&entry.name);
    match place.action {
        Action::Quantize(scheme) => {
            let matrix = part_of(&entry.name).and_then(|(module, _)| matrices.get(module));
            matrix.is_some_and(|matrix| {
                matrix.scheme() == scheme && [matrix.rows, matrix.columns] == *entry.meta.shape()
            })
        }
        Action::Keep | Action::Dense(_) => {
            place.placed(entry).all(|placed| stored == Some(&placed.part.meta))
        }
        // A scale of the source may be called as one of the artifact is.
        Action::Omit { .. } => {
            let part = part_of(&entry.name);
            let is_new = part.is_some_and(|(module, suffix)| {
                matrices.get(module).is_some_and(|matrix| matrix.has_part(suffix))
            });
            stored.is_none() || is_new
        }
    }
}
