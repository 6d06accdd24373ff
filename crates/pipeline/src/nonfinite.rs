//! Tensors with NaN or infinity, when the user allows them.
//!
//! Whether a tensor holds one cannot be seen in its header, and the plan must know: this is a reading
//! sweep that ends in a decision. Without the permission no such sweep is needed; the run fails at the
//! first such weight.

use crate::{Cancel, Error, Recipe, pool};
use llmopt_arch::Model;
use llmopt_checkpoint::Source;
use llmopt_tensor::decode;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The tensors that stay as they are because they, or a matrix that a runtime fuses them with, hold a
/// weight that is not finite.
pub(crate) fn kept(
    source: &Source,
    model: &Model,
    recipe: &Recipe,
    threads: usize,
    cancel: &Cancel,
) -> Result<BTreeSet<String>, Error> {
    if !recipe.allow_nonfinite {
        return Ok(BTreeSet::new());
    }
    let found = Mutex::new(BTreeSet::new());
    let sites = model.sites().iter().chain(model.optional_sites());
    pool::for_each(threads, sites, cancel, |site, _| {
        if has_nonfinite(source, &site.tensor)? {
            let group = site.fused.clone().unwrap_or_else(|| site.tensor.clone());
            found.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
        }
        Ok(())
    })?;
    let groups = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let sites = model.sites().iter().chain(model.optional_sites());
    let concerned =
        sites.filter(|site| groups.contains(site.fused.as_ref().unwrap_or(&site.tensor)));
    Ok(concerned.map(|site| site.tensor.clone()).collect())
}

/// Whether a tensor holds NaN or infinity. One that is not of floats does not.
pub(crate) fn has_nonfinite(source: &Source, tensor: &str) -> Result<bool, Error> {
    let Some((shard, entry)) = source.entry(tensor) else { return Ok(false) };
    let element_bytes = (entry.meta.dtype().bits() / 8) as u64;
    let mut weights = Vec::new();
    for begin in (0..entry.meta.bytes()).step_by(PIECE_BYTES as usize) {
        let end = (begin + PIECE_BYTES).min(entry.meta.bytes());
        let mut bytes = vec![0; (end - begin) as usize];
        shard.read_tensor(entry, begin..end, &mut bytes)?;
        weights.resize(((end - begin) / element_bytes) as usize, 0.0);
        if decode(entry.meta.dtype(), &bytes, &mut weights).is_err() {
            return Ok(false);
        }
        if weights.iter().any(|weight: &f32| !weight.is_finite()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A multiple of every element's size.
const PIECE_BYTES: u64 = 1 << 20;
