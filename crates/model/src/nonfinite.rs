//! Tensors with NaN or infinity: refused, or found and kept when the user allows them.
//!
//! Every float tensor of the source is looked at while it passes through memory anyway, and the first
//! such element ends the run. With the permission, what stays as it is must be known to the plan, which
//! sees headers alone: a reading sweep finds it.

use llmopt_arch::{Model, Role};
use llmopt_checkpoint::{HeaderEntry, Shard, Source};
use llmopt_run::{Cancel, Error, Events, NonFinite, pool};
use llmopt_tensor::first_not_finite;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What of a model is not finite although the user allows it, and what follows.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// Every tensor that holds such an element, with the first, in the order of the files.
    pub found: Vec<NonFinite>,
    /// The matrices that are not quantized for it, each with the reason.
    pub kept: BTreeMap<String, String>,
}

/// What a model may hold if it is allowed to. Nothing is read unless it is.
///
/// # Errors
/// If a tensor cannot be read.
pub fn allowed(
    source: &Source,
    model: &Model,
    allow: bool,
    threads: usize,
) -> Result<Allowed, Error> {
    if !allow {
        return Ok(Allowed::default());
    }
    let found = Mutex::new(BTreeMap::new());
    pool::for_each(threads, looked_at(source, model), &Cancel::new(), |(number, tensor), _| {
        if let Some(first) = first(tensor)? {
            found.lock().unwrap_or_else(PoisonError::into_inner).insert(number, first);
        }
        Ok(())
    })?;
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let found: Vec<NonFinite> = found.into_values().collect();
    let kept =
        with_partners(model, found.iter().map(|first| (&*first.tensor, format!("holds {first}"))));
    Ok(Allowed { found, kept })
}

/// Refuses a model of which a tensor is not finite, before hours of work end there.
///
/// # Errors
/// [`Error::NotFinite`] for the first such tensor in the order of the files.
pub fn refused(
    source: &Source,
    model: &Model,
    may_be_kept: bool,
    threads: usize,
    (events, cancel): (&dyn Events, &Cancel),
) -> Result<(), Error> {
    events.stage_started("look", source.shards().iter().map(|shard| shard.bytes).sum());
    pool::for_each(threads, looked_at(source, model), cancel, |(_, (shard, entry)), _| {
        if let Some(found) = first((shard, entry))? {
            return Err(Error::NotFinite { found, file: shard.name.clone(), may_be_kept });
        }
        events.advanced(entry.meta.bytes(), &entry.name);
        Ok(())
    })?;
    events.stage_finished("look");
    Ok(())
}

/// The first element of a tensor that is not finite, if one is.
///
/// # Errors
/// If the tensor cannot be read.
pub fn first((shard, entry): (&Shard, &HeaderEntry)) -> Result<Option<NonFinite>, Error> {
    let mut bytes = Vec::new();
    for begin in (0..entry.meta.bytes()).step_by(PIECE_BYTES as usize) {
        let end = (begin + PIECE_BYTES).min(entry.meta.bytes());
        bytes.resize((end - begin) as usize, 0);
        shard.read_tensor(entry, begin..end, &mut bytes)?;
        if let Some(found) = first_in(entry, begin, &bytes) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The first such element in a piece of a tensor that begins at byte `begin`.
pub fn first_in(entry: &HeaderEntry, begin: u64, bytes: &[u8]) -> Option<NonFinite> {
    let found = first_not_finite(entry.meta.dtype(), bytes)?;
    let before = begin * 8 / entry.meta.dtype().bits() as u64;
    Some(NonFinite {
        tensor: entry.name.clone(),
        position: entry.meta.position(before + found.index as u64),
        value: found.value.to_string(),
    })
}

/// Whether anything becomes of the values of a tensor: buffers, masks with their infinities among them,
/// are computed by every loader.
pub fn matters(model: &Model, tensor: &str) -> bool {
    model.get(tensor).is_none_or(|tensor| tensor.role != Role::Buffer)
}

/// Matrices of which each has a reason to stay dense, and what a runtime fuses with one of them.
pub fn with_partners<'a>(
    model: &Model,
    reasons: impl Iterator<Item = (&'a str, String)>,
) -> BTreeMap<String, String> {
    let reasons: BTreeMap<&str, String> = reasons.collect();
    let linears = || model.linear_weights().iter().chain(model.optional_linear_weights());
    let reason = |tensor: &str| {
        let scales = model.block_scale_of(tensor).and_then(|scale| reasons.get(&*scale.tensor));
        reasons.get(tensor).or(scales)
    };
    let mut groups: BTreeMap<&str, (&str, &String)> = BTreeMap::new();
    for linear in linears() {
        if let (Some(group), Some(why)) = (linear.fused.as_deref(), reason(&linear.tensor)) {
            groups.entry(group).or_insert((&linear.tensor, why));
        }
    }
    let told = |linear: &llmopt_arch::LinearWeight| match reason(&linear.tensor) {
        Some(why) => Some(format!("kept dense, because it {why}")),
        None => groups.get(linear.fused.as_deref()?).map(|(partner, why)| {
            format!("kept dense, because runtimes fuse it with `{partner}`, which {why}")
        }),
    };
    linears().filter_map(|linear| Some((linear.tensor.clone(), told(linear)?))).collect()
}

/// The tensors that matter, with their numbers in the order of the files.
fn looked_at<'a>(
    source: &'a Source,
    model: &'a Model,
) -> impl Iterator<Item = (usize, (&'a Shard, &'a HeaderEntry))> + Send {
    let shards = source.shards().iter();
    let tensors =
        shards.flat_map(|shard| shard.header.tensors().iter().map(move |entry| (shard, entry)));
    tensors.filter(|(_, entry)| matters(model, &entry.name)).enumerate()
}

/// A multiple of every element's size.
const PIECE_BYTES: u64 = 1 << 20;
