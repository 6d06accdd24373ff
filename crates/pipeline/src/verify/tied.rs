//! Embedding and head, when the config says that they are one matrix.

use super::artifact::{Artifact, WEIGHT};
use super::findings::Findings;
use crate::Error;
use llmopt_arch::Model;
use llmopt_checkpoint::{HeaderEntry, Shard};

/// Checks that neither is quantized, and, unless `quick`, that a head that is there is the embedding.
pub(super) fn check(
    artifact: &Artifact,
    model: &Model,
    quick: bool,
    findings: &mut Findings,
) -> Result<(), Error> {
    let Some((embedding, head)) = model.tied() else { return Ok(()) };
    findings.checked("tied pairs", 1);
    for tensor in [embedding, head] {
        let module = tensor.strip_suffix(&format!(".{WEIGHT}")).unwrap_or(tensor);
        if artifact.is_quantized_module(module) {
            let message = format!(
                "it is quantized, but `{embedding}` and `{head}` are tied: loaders expect one \
                 dense matrix for both"
            );
            findings.fault("tied", module, message);
            return Ok(());
        }
    }
    let (Some(embedding), Some(kept)) = (artifact.entry(embedding), artifact.entry(head)) else {
        return Ok(());
    };
    if !quick && !are_equal(embedding, kept)? {
        let message = format!(
            "it differs from `{}`, but the config ties them: Transformers uses it, vLLM leaves \
             it out, and the two compute different models",
            embedding.1.name
        );
        findings.fault("tied", head, message);
    }
    Ok(())
}

/// Whether two tensors have the same type, shape and bytes.
pub(super) fn are_equal(
    (one, first): (&Shard, &HeaderEntry),
    (other, second): (&Shard, &HeaderEntry),
) -> Result<bool, Error> {
    if first.meta != second.meta {
        return Ok(false);
    }
    let bytes = first.meta.bytes();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for begin in (0..bytes).step_by(PIECE_BYTES as usize) {
        let range = begin..(begin + PIECE_BYTES).min(bytes);
        let length = (range.end - range.start) as usize;
        left.resize(length, 0);
        right.resize(length, 0);
        one.read_tensor(first, range.clone(), &mut left)?;
        other.read_tensor(second, range, &mut right)?;
        if left != right {
            return Ok(false);
        }
    }
    Ok(true)
}

const PIECE_BYTES: u64 = 1 << 20;
