//! The choice among candidates: artifacts in their staging folders, judged on windows that none has seen.

use llmopt_checkpoint::Output as Staged;
use llmopt_data::judges;
use llmopt_eval::Estimate;
use llmopt_forward::Engine;
use llmopt_measure::{Divergences, judged, least};
use llmopt_model::Variant;
use llmopt_run::{Error, Resources};
use llmopt_sweep::{ReadingMemory, Run, judging, planned};

/// What was found.
pub(crate) struct Choice {
    /// The mean KL divergence of each candidate from the original model, in nats.
    pub(crate) klds: Vec<Estimate>,
    /// The number of the best; of equals the first.
    pub(crate) best: usize,
}

/// Plans a reading sweep over `original` and so many artifacts, which run about its program; `held` are bytes
/// that are held beside.
///
/// # Errors
/// [`Error::Budget`] if they cannot be read side by side.
pub(crate) fn choice_memory(
    (original, engine): (&Variant, &Engine),
    candidates: usize,
    windows: &[Vec<u32>],
    held: u64,
    resources: Resources,
) -> Result<ReadingMemory, Error> {
    let batches = judging(judges(windows));
    let held = held + Divergences::bytes(&batches, candidates);
    planned(&vec![original; 1 + candidates], &batches, engine, held, resources)
}

/// Chooses.
///
/// # Errors
/// If an artifact cannot be run.
pub(crate) fn choose(
    original: &Variant,
    staged: &[Staged],
    windows: &[Vec<u32>],
    memory: &ReadingMemory,
    run: Run<'_>,
) -> Result<Choice, Error> {
    let mut variants = vec![original.clone()];
    for staged in staged {
        variants.push(Variant::open(staged.partial_path())?);
    }
    let klds = judged("decide", &variants, judges(windows), memory, run)?;
    let best = least(klds.iter());
    Ok(Choice { klds, best })
}
